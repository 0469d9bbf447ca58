// error: these children are to return one type, which is no reference: return a pointer
// SPDX-License-Identifier: MIT
#include <aio/aio.hpp>
#include <aio/detail/children_race.hpp>

struct last_value {
  static constexpr char const* caller = "last";
  static constexpr char const* too_late = "too late";
  bool enough_with(aio::detail::child_view, std::size_t index) {
    last = index;
    return false;
  }
  template <class Children>
  auto take(Children& children) {
    return children.take(last);
  }
  std::size_t last = 0;
};

aio::task<int> f();
aio::task<long> g();

aio::task<> h() { (void)co_await aio::detail::race_children(last_value(), f(), g()); }
