// SPDX-License-Identifier: MIT

#include <aio/aio.hpp>
#include <aio/testing/virtual_clock.hpp>
#include <stdexcept>
#include <vector>

#include "support/catch.hpp"

using namespace std::chrono_literals;

namespace {

aio::task<int> after(std::chrono::milliseconds delay, int value) {
  co_await aio::sleep_for(delay);
  co_return value;
}

aio::task<> fail_after(std::chrono::milliseconds delay) {
  co_await aio::sleep_for(delay);
  throw std::runtime_error("boom");
}

}  // namespace

TEST_CASE("wait: says which are done when the first is, and leaves the others running") {
  aio::testing::run([]() -> aio::task<> {
    std::vector<aio::task_handle<int>> handles;
    for (int const ms : {30, 10, 20}) {
      handles.push_back(aio::create_task(after(std::chrono::milliseconds(ms), ms)));
    }
    auto const [done, pending] = co_await aio::wait(handles, aio::first_completed);
    CHECK(done.size() == 1);
    CHECK(done.at(0) == handles[1]);
    CHECK(pending.size() == 2);
    auto const [in_time, late] = co_await aio::wait(pending, aio::all_completed, 15ms);
    CHECK(in_time.size() == 1);
    CHECK(late.size() == 1);
    int const last = co_await late.at(0);
    CHECK(last == 30);
    auto const nothing = co_await aio::as_result(aio::wait(std::vector<aio::task_handle<int>>()));
    CHECK_THROWS_AS(nothing.rethrow(), std::invalid_argument);
  });
}

TEST_CASE("wait: a failure ends it in the mode first_exception, and is not thrown") {
  aio::testing::run([]() -> aio::task<> {
    std::vector<aio::task_handle<>> const handles{aio::create_task(fail_after(5ms)),
                                                  aio::create_task(fail_after(50ms))};
    auto const [done, pending] = co_await aio::wait(handles, aio::first_exception);
    CHECK(done.size() == 1);
    CHECK(pending.size() == 1);
    CHECK(done.at(0).exception() != nullptr);
    pending.at(0).cancel();
  });
}
