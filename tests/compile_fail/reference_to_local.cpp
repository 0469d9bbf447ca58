// error: the result refers to a local variable or a temporary of the coroutine, which is gone when it is read: return the value itself, as in aio::task<std::string>
// SPDX-License-Identifier: MIT
#include <aio/aio.hpp>

aio::task<std::string const&> g() {
  std::string s = "a";
  co_return s;
}
