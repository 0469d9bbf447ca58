// SPDX-License-Identifier: MIT

// The line of those to whom something is handed, in the primitive with which detail/wait_line.hpp begins.

#include <aio/detail/wait_line.hpp>

#include <chrono>
#include <coroutine>
#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "aio/as_result.hpp"
#include "aio/sleep.hpp"
#include "aio/task_handle.hpp"
#include "aio/testing/virtual_clock.hpp"
#include "support/catch.hpp"
#include "support/order.hpp"
#include "support/reports.hpp"
#include "support/trace.hpp"

using namespace std::chrono_literals;
using aio_test::hops;
using aio_test::iteration_trace;
using aio_test::said;
using aio_test::traced;
using aio_test::words;

namespace {

class tickets {
 public:
  class get_awaiter final : public aio::detail::handed_waiter {
   public:
    explicit get_awaiter(tickets& owner) noexcept : owner_(&owner) {}
    bool await_ready() noexcept { return owner_->take(number_); }
    void await_suspend(std::coroutine_handle<>) {
      owner_->line_.join(*this, loop(), "tickets");
      suspend();
    }
    std::optional<int> await_resume() {
      if (!receive()) return std::nullopt;
      return number_;
    }

   private:
    friend class tickets;
    void pass_on() noexcept override { owner_->give(number_); }
    tickets* owner_;
    int number_ = 0;
  };

  tickets() { free_.reserve(100'000); }
  [[nodiscard("co_await it: nothing is taken before")]] get_awaiter get() noexcept { return get_awaiter(*this); }
  void add() {
    line_.check_thread("tickets::add");
    give(++last_);
  }
  [[nodiscard]] std::size_t waiting() const noexcept { return line_.waiting(); }
  [[nodiscard]] std::size_t free() const noexcept { return free_.size(); }
  [[nodiscard]] bool somebody_is_next() noexcept { return line_.next() != nullptr; }

 private:
  bool take(int& number) noexcept {
    if (free_.empty()) return false;
    number = free_.back();
    free_.pop_back();
    return true;
  }
  void give(int number) noexcept {
    if (auto* const to = line_.hand_over<get_awaiter>()) {
      to->number_ = number;
    } else {
      free_.push_back(number);
    }
  }

  int last_ = 0;
  std::vector<int> free_;
  aio::detail::handing_line line_;
};

aio::task<> get(iteration_trace& log, tickets& from, std::string name) {
  try {
    auto const got = co_await from.get();
    log(name + (got ? " got " + std::to_string(*got) : " gone"));
  } catch (aio::cancelled_error const& e) {
    log(name + " CE" + aio_test::args(e));
    throw;
  }
}

}  // namespace

TEST_CASE("handing_line: hands over in the order of arrival, in the iteration that follows, and nobody overtakes") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          tickets some;
          auto const a = aio::create_task(get(log, some, "a"));
          auto const b = aio::create_task(get(log, some, "b"));
          auto const c = aio::create_task(get(log, some, "c"));
          co_await hops(1);
          log.mark();
          log(words(some.waiting(), some.free(), some.somebody_is_next()));
          some.add();
          some.add();
          log(words(some.waiting(), some.free()));
          auto const d = aio::create_task(get(log, some, "d"));
          co_await hops(1);
          log(words(some.waiting(), some.free()));
          for (int i = 0; i < 3; ++i) some.add();
          log(words(some.waiting(), some.free(), some.somebody_is_next()));
          co_await get(log, some, "main");
          co_await hops(1);
          log(words(some.waiting(), some.free()));
        }) ==
        "0:3 0 True | 0:1 0 | 1:a got 1 | 1:b got 2 | 1:2 0 | 1:0 1 False | 1:main got 5 | 2:c got 3 | "
        "2:d got 4 | 2:0 0");
}

TEST_CASE("handing_line: who is cancelled while it waits leaves at once, the first and those in between and the last") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          tickets some;
          std::vector<aio::task_handle<>> all;
          for (char const* name : {"a", "b", "c", "d", "e"}) all.push_back(aio::create_task(get(log, some, name)));
          co_await hops(1);
          log.mark();
          for (std::size_t i : {0U, 2U, 4U}) all[i].cancel();
          log(words(some.waiting()));
          for (int i = 0; i < 3; ++i) some.add();
          log(words(some.waiting(), some.free()));
          co_await hops(1);
          log(words(some.waiting(), some.free()));
        }) == "0:2 | 0:0 1 | 1:a CE() | 1:c CE() | 1:e CE() | 1:b got 1 | 1:d got 2 | 1:0 1");
}

TEST_CASE("handing_line: who is cancelled after something was handed to it passes that on") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          tickets some;
          auto const a = aio::create_task(get(log, some, "a"));
          auto const b = aio::create_task(get(log, some, "b"));
          co_await hops(1);
          log.mark();
          some.add();
          a.cancel("x");
          co_await hops(2);
          log(words(a.cancelled(), b.done(), some.free()));
          auto const c = aio::create_task(get(log, some, "c"));
          co_await hops(1);
          some.add();
          c.cancel();
          co_await hops(1);
          log(words(some.waiting(), some.free()));
        }) == "1:a CE('x',) | 2:b got 1 | 2:True True 0 | 4:c CE() | 4:0 1");
}

TEST_CASE("handing_line: a task cancelled before it has to wait is not left in line") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          tickets some;
          auto const self_cancelled = [&]() -> aio::task<> {
            aio::current_task().cancel();
            co_await get(log, some, "a");
          };
          auto const a = aio::create_task(self_cancelled);
          log.mark();
          co_await hops(1);
          log(words(some.waiting()));
          some.add();
          co_await hops(1);
          log(words(a.cancelled(), some.free()));
        }) == "1:0 | 2:a CE() | 2:True 1");
}

TEST_CASE("handing_line: may go while tasks wait, and before those run that were handed something") {
  CHECK(traced([](iteration_trace& log) -> aio::task<> {
          auto some = std::make_unique<tickets>();
          auto const a = aio::create_task(get(log, *some, "a"));
          auto const b = aio::create_task(get(log, *some, "b"));
          auto const c = aio::create_task(get(log, *some, "c"));
          co_await hops(1);
          log.mark();
          some->add();
          some->add();
          b.cancel();
          some.reset();
          co_await hops(2);
          log(words(c.done()));
          c.cancel();
          co_await hops(1);
        }) == "1:a gone | 1:b CE() | 2:False | 3:c CE()");
}

TEST_CASE("handing_line: an awaiter may be kept and awaited later") {
  aio::testing::run([]() -> aio::task<> {
    tickets some;
    auto later = some.get();
    some.add();
    CHECK(some.free() == 1);
    auto const got = co_await std::move(later);
    CHECK(got.has_value());
    CHECK(some.free() == 0);
  });
}

TEST_CASE("handing_line: tasks of one loop only can wait in it") {
  tickets some;
  aio::testing::virtual_loop first;
  auto const waiter = first.create_task([&]() -> aio::task<> { (void)co_await some.get(); });
  first.run_until_complete([]() -> aio::task<> { co_await hops(1); }());
  CHECK(some.waiting() == 1);
  auto const other = [&]() -> aio::task<> {
    auto const ended = co_await aio::as_result(some.get());
    CHECK(said(ended) ==
          "aio::usage_error: this tickets belongs to another event loop: tasks of one loop only can wait for it");
  };
  aio::testing::run(other);
  CHECK(some.waiting() == 1);
  waiter.cancel();
  first.close();
  CHECK(some.waiting() == 0);
}

TEST_CASE("handing_line: a hundred thousand wait, and every other one is cancelled") {
  aio::testing::run([]() -> aio::task<> {
    tickets some;
    std::size_t got = 0;
    auto const worker = [&]() -> aio::task<> {
      (void)co_await some.get();
      ++got;
    };
    std::vector<aio::task_handle<>> tasks;
    for (int i = 0; i < 100'000; ++i) tasks.push_back(aio::create_task(worker));
    co_await hops(1);
    for (std::size_t i = 0; i < tasks.size(); i += 2) tasks[i].cancel();
    CHECK(some.waiting() == 50'000);
    for (int i = 0; i < 50'000; ++i) some.add();
    co_await hops(1);
    CHECK(got == 50'000);
    CHECK(some.free() == 0);
  });
}
