// error: the result refers to a local variable or a temporary of the coroutine, which is gone when it is read: return the value itself, as in aio::task<std::string>
// SPDX-License-Identifier: MIT
#include <aio/aio.hpp>

#include <string_view>

aio::task<std::string_view> g() {
  std::string s = "a";
  co_return s;
}
