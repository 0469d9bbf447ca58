// SPDX-License-Identifier: MIT
#pragma once

// Programs of tasks that do anything with anything, fail, and are cancelled: nothing may be lost, held or left, and the
// same bytes give the same order of events again.

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <stdexcept>
#include <utility>
#include <vector>

#include "aio/aio.hpp"
#include "aio/testing/virtual_clock.hpp"
#include "input.hpp"

namespace aio_fuzz {

struct planned_error : std::runtime_error {
  planned_error() : std::runtime_error("planned") {}
};

class program {
 public:
  explicit program(std::span<std::uint8_t const> bytes) noexcept : in_(bytes) {}

  /// A number that stands for all that happened, in order.
  std::uint64_t run() {
    aio::testing::run(begin());
    require(actors_ == 0, "a coroutine was not destroyed");
    require(!lock_.locked(), "a lock is held");
    require(slots_.value() == 2, "a permit is lost, or there is one too many");
    require(!shared_.locked(), "a shared lock is held");
    require(put_ == got_ + items_.qsize(), "an item is lost, or there is one too many");
    return trace_;
  }

 private:
  using seconds = std::chrono::seconds;

  /// Counts itself while it lives.
  struct one_more {
    explicit one_more(int& of) noexcept : count(of) { ++count; }
    one_more(one_more const&) = delete;
    ~one_more() { --count; }
    int& count;
  };

  aio::task<> begin() {
    aio::get_running_loop().set_exception_handler([this](aio::exception_context const&) { note(200); });
    while (!in_.empty()) {
      auto const ended = co_await aio::as_result(act(0));  // awaits tasks that others cancel, too
      note(ended.has_value() ? 201 : ended.cancelled() ? 202
                                                       : 203);
      require(aio::current_task().cancelling() == 0, "a task counts a cancellation that was not for it");
    }
    while (!kept_.empty()) {  // what nobody waited for
      auto left = std::exchange(kept_, {});
      for (auto& each : left) each.cancel();
      (void)co_await aio::gather(aio::return_exceptions, std::move(left));
    }
  }

  void note(std::uint64_t what) noexcept { trace_ = (trace_ ^ what) * 1099511628211U; }

  /// A few operations, as the next bytes say.
  aio::task<> act(int depth) {
    one_more const alive(actors_);
    for (std::size_t left = 1 + in_.below(3); left > 0 && !in_.empty(); --left) {
      co_await one(depth);
      note(100 + std::uint64_t(depth));
    }
  }

  aio::task<> one(int depth) {
    one_more const alive(actors_);
    std::size_t const what = in_.below(depth < 6 ? 26 : 14);
    seconds const time(in_.below(4));
    note(what);
    switch (what) {
      case 0:
        co_await aio::sleep_for(time);
        break;
      case 1:
        co_await aio::sleep_for(seconds(0));
        break;
      case 2:
        throw planned_error();
      case 3:
        event_.set();
        break;
      case 4:
        event_.clear();
        break;
      case 5: {
        auto const set = co_await aio::try_for(time, event_.wait());
        note(set ? 1 : 0);
        break;
      }
      case 6: {
        auto const done = co_await aio::try_for(time, items_.put(1));
        // An item that was put before the time was over is in the queue, and the caller is told so.
        if (done) ++put_;
        break;
      }
      case 7: {
        auto const item = co_await aio::try_for(time, items_.get());
        if (item) ++got_;
        break;
      }
      case 8: {
        auto const got = co_await aio::select(items_.get(), event_.wait(), aio::sleep_for(time));
        if (got.index() == 0) ++got_;
        note(got.index());
        break;
      }
      case 9: {
        auto const items = co_await aio::try_for(time, items_.get_many(3));
        if (items) got_ += items->size();
        break;
      }
      case 10:
        if (auto const item = items_.try_get()) ++got_;
        break;
      case 11:
        if (!kept_.empty()) kept_[in_.byte() % kept_.size()].cancel();
        break;
      case 12:
        (void)co_await aio::try_for(time, aio::gather(event_.wait(), aio::sleep_for(seconds(1))));
        break;
      case 13:
        co_await wait_for_turn(time);
        break;
      case 14:
        co_await with_lock(depth, time);
        break;
      case 15:
        co_await with_slot(depth, time);
        break;
      case 16:
        co_await with_shared(depth, time);
        break;
      case 17:
        co_await in_group(depth);
        break;
      case 18:
        co_await aio::gather(act(depth + 1), act(depth + 1));
        break;
      case 19:
        co_await aio::wait_for(act(depth + 1), time);
        break;
      case 20:
        (void)co_await aio::race(act(depth + 1), act(depth + 1));
        break;
      case 21:
        keep(aio::create_task(act(depth + 1)));
        break;
      case 22: {
        auto handle = aio::create_task(act(depth + 1));
        keep(handle);
        co_await aio::shield(handle);
        break;
      }
      case 23: {
        auto handle = aio::create_task(act(depth + 1));
        co_await aio::sleep_for(time);
        handle.cancel();
        auto const ended = co_await aio::as_result(handle);
        require(handle.done(), "a task was awaited that is not done");
        note(ended.cancelled() ? 1 : 0);
        break;
      }
      case 24:
        (void)co_await aio::try_for(time, aio::uncancellable(act(depth + 1)));
        break;
      default:
        (void)co_await aio::gather(aio::return_exceptions, act(depth + 1), act(depth + 1), act(depth + 1));
    }
  }

  void keep(aio::task_handle<> handle) {
    std::erase_if(kept_, [](aio::task_handle<> const& each) { return each.done(); });
    kept_.push_back(std::move(handle));
  }

  aio::task<> with_lock(int depth, seconds time) {
    auto const held = co_await aio::try_for(time, lock_.acquire());
    if (!held) co_return;
    one_more const inside(inside_);
    require(inside_ == 1, "two tasks hold a lock");
    co_await act(depth + 1);
  }
  aio::task<> with_slot(int depth, seconds time) {
    auto const held = co_await aio::try_for(time, slots_.acquire());
    if (!held) co_return;
    one_more const holder(holders_);
    require(holders_ <= 2, "three tasks hold two permits");
    co_await act(depth + 1);
  }
  aio::task<> with_shared(int depth, seconds time) {
    if (in_.below(2) == 0) {
      auto const held = co_await aio::try_for(time, shared_.acquire());
      if (!held) co_return;
      one_more const writer(writers_);
      require(writers_ == 1 && readers_ == 0, "a writer is not alone");
      co_await act(depth + 1);
    } else {
      auto const held = co_await aio::try_for(time, shared_.acquire_shared());
      if (!held) co_return;
      one_more const reader(readers_);
      require(writers_ == 0, "a writer is not alone");
      co_await act(depth + 1);
    }
  }

  /// Releases the condition's lock whatever comes.
  aio::task<> wait_for_turn(seconds time) {
    auto held = co_await aio::try_for(time, condition_.acquire());
    if (!held) co_return;
    if (in_.below(2) == 0) {
      condition_.notify(1);
    } else {
      (void)co_await aio::try_for(time, condition_.wait());
    }
  }

  aio::task<> member(int depth, int& inside) {
    one_more const within(inside);
    co_await act(depth);
  }
  aio::task<> in_group(int depth) {
    int inside = 0;
    struct none_left {
      ~none_left() { require(inside == 0, "a group ended before its children"); }
      int& inside;
    } const at_end{inside};
    co_await aio::with_task_group([this, depth, &inside](aio::task_group& group) -> aio::task<> {
      for (std::size_t left = 1 + in_.below(3); left > 0; --left) {
        group.create_task(member(depth + 1, inside));
        if (in_.below(2) == 0) co_await aio::sleep_for(seconds(0));
      }
      co_await act(depth + 1);
    });
  }

  input in_;
  std::uint64_t trace_ = 14695981039346656037U;
  int actors_ = 0;
  int inside_ = 0;
  int holders_ = 0;
  int writers_ = 0;
  int readers_ = 0;
  std::size_t put_ = 0;
  std::size_t got_ = 0;
  aio::lock lock_;
  aio::semaphore slots_{2};
  aio::shared_lock shared_;
  aio::queue<int> items_{2};
  aio::event event_;
  aio::condition condition_;
  std::vector<aio::task_handle<>> kept_;
};

inline void programs(std::span<std::uint8_t const> bytes) {
  std::uint64_t const first = program(bytes).run();
  require(program(bytes).run() == first, "the same program did something else the second time");
}

}  // namespace aio_fuzz
