// SPDX-License-Identifier: MIT
#include "library.hpp"

using namespace std::chrono_literals;

namespace {

aio::task<int> sleep(int x) {
  co_await aio::sleep_for(1ms);
  co_return x + 1;
}

aio::task<> wait(int& cleaned_up) {
  try {
    co_await aio::sleep_for(1h);
  } catch (aio::cancelled_error const&) {
    ++cleaned_up;
    throw;
  }
}

aio::task<int> create_and_await(int x) {
  auto child = aio::create_task(sleep(x));
  int const here = co_await sleep(x);
  int const there = co_await child;
  co_return here + there;
}

aio::task<int> begin(int& begun) {
  ++begun;
  co_await aio::sleep_for(1h);
  co_return 0;
}
aio::task_handle<int> start(aio::event_loop& loop, int& begun) { return loop.create_task(begin(begun)); }

aio::task<bool> limited() {
  try {
    co_await aio::wait_for(aio::sleep_for(1h), 1ms);
  } catch (aio::timeout_error const&) {
    co_return true;
  }
  co_return false;
}

aio::task<bool> knows_where_it_runs(aio::event_loop& loop, aio::any_task_handle const& self) {
  bool const same = &aio::get_running_loop() == &loop && aio::current_task() == self;
  co_return same;
}

aio::task<int> read(aio::context_var<int>& variable) { co_return variable.get(); }

aio::task<> fail() {
  co_await aio::sleep_for(0s);
  throw std::runtime_error("library");
}

aio::task<> shield(aio::future<>& inner) { co_await aio::shield(inner); }

aio::callback_handle call_later(aio::event_loop& loop, std::shared_ptr<int> kept) {
  return loop.call_later(1h, [kept] { ++*kept; });
}

aio::detail::done_callback listen(aio::task_handle<int> const& to, int& heard) {
  return to.add_done_callback([&heard] { ++heard; });
}

// clang-format off
constexpr library functions{&sleep, &wait, &create_and_await, &start,      &limited, &knows_where_it_runs,
                            &read,  &fail, &shield,           &call_later, &listen};
// clang-format on

}  // namespace

library const* aio_test_library() { return &functions; }
