// error: on_exit: the variables and arguments of a task are gone when its clean-up runs, and a lambda that refers to something may refer to one of them\. Give it what it needs: co_await aio::on_exit\(std::move\(link\), &connection::close\)
// SPDX-License-Identifier: MIT
#include <aio/aio.hpp>

aio::task<> f() {
  int variable = 0;
  co_await aio::on_exit([&]() -> aio::task<> {
    ++variable;
    co_return;
  });
}
