// SPDX-License-Identifier: MIT
#pragma once

// Results in the order in which they come.
//
//   for (auto next : aio::as_completed(handles)) {
//     std::cout << co_await next << '\n';
//   }
//
//   for (auto next : aio::as_completed(handles, 5s)) {
//     auto handle = co_await next.handle();          // which one it was
//   }

#include "aio/config.hpp"

#include <chrono>
#include <coroutine>
#include <cstddef>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "aio/detail/callback.hpp"
#include "aio/detail/children.hpp"
#include "aio/detail/lighter_std.hpp"
#include "aio/detail/scheduler.hpp"
#include "aio/detail/task_core.hpp"
#include "aio/error.hpp"
#include "aio/queue.hpp"
#include "aio/sleep.hpp"
#include "aio/task.hpp"
#pragma GCC visibility push(default)

namespace aio::inline AIO_ABI {

/// The items of as_completed(), as many as there are distinct handles. Copies share the state.
///
/// Dropping it before the end cancels nothing. asyncio: as_completed, AC-1 to AC-6.
template <class Handle>
class completions {
  struct shared;

 public:
  /// Stands for the next that gets done, whichever that is.
  class next {
   public:
    /// Waits for it, and gives its result.
    /// Resumes: two iterations after its last step.
    /// Throws: what it ended with; timeout_error when the limit has passed.
    auto operator co_await() const {
      return detail::child_awaiter<typename Handle::value_type>(result(shared_));
    }
    /// Waits for it, and gives its handle, which is done.
    [[nodiscard("co_await it")]] task<Handle> handle() const { return wait_for_one(shared_); }

   private:
    friend completions;
    explicit next(std::shared_ptr<shared> all) noexcept : shared_(std::move(all)) {}
    std::shared_ptr<shared> shared_;
  };

  class iterator {
   public:
    using value_type = next;
    using difference_type = std::ptrdiff_t;

    /// Gives one out, also when the loop ends here.
    next operator*() const {
      give_out();
      return next(shared_);
    }
    iterator& operator++() noexcept {
      give_out();
      given_out_ = false;
      return *this;
    }
    void operator++(int) noexcept { ++*this; }
    bool operator==(std::default_sentinel_t) const noexcept {
      return shared_->left == 0 && !given_out_;
    }

   private:
    friend completions;
    explicit iterator(std::shared_ptr<shared> all) noexcept : shared_(std::move(all)) {}
    void give_out() const noexcept {
      if (!given_out_) --shared_->left;
      given_out_ = true;
    }

    std::shared_ptr<shared> shared_;
    mutable bool given_out_ = false;  // the one that this stands at
  };

  completions(std::vector<Handle> handles, std::optional<time_point::duration> limit) {
    detail::keep_distinct(handles, "as_completed");
    shared_ = std::make_shared<shared>(std::move(handles));  // NOLINT(cppcoreguidelines-prefer-member-initializer)
    shared_->begin(shared_, limit);
  }

  /// Goes on where the last loop over it ended.
  iterator begin() const noexcept { return iterator(shared_); }
  std::default_sentinel_t end() const noexcept { return {}; }

 private:
  using value_type = typename Handle::value_type;

  static task<Handle> wait_for_one(std::shared_ptr<shared> all);
  static task<value_type> result(std::shared_ptr<shared> all);

  std::shared_ptr<shared> shared_;
};

/// Gives the handles' results in order of completion.
///
/// `limit` covers the whole: when it has passed, what is left throws timeout_error; the tasks run
/// on. Throws: usage_error where no loop runs, or if a handle is empty or belongs to another loop;
/// std::invalid_argument if the limit is not a number.
template <std::ranges::input_range Range>
[[nodiscard]] auto as_completed(Range&& handles,
                                std::optional<std::chrono::duration<double>> limit = std::nullopt)
    -> completions<std::ranges::range_value_t<Range>>;

// ---------------------------------------------------------------- implementation

template <class Handle>
struct completions<Handle>::shared final : detail::child_parent {
  explicit shared(std::vector<Handle> given) : handles(std::in_place, std::move(given)) {}

  void begin(std::shared_ptr<shared> const& self, std::optional<time_point::duration> limit) {
    detail::scheduler& on = detail::scheduler::require_running("as_completed");
    left = todo = handles.size();
    // The queue grows now: a callback could tell nobody that there was no memory.
    for (std::size_t i = 0; i < todo; ++i) done.put_nowait(std::nullopt);
    for (std::size_t i = 0; i < todo; ++i) (void)done.get_nowait();
    // Handles are lent: whoever can complete what they stand for keeps this, and not this that.
    handles.for_each([this](auto& slot, std::size_t) {
      slot.listen(*this);
      slot.listener()->lend();
    });
    listening = todo;
    if (todo > 0) itself = self;
    if (todo > 0 && limit) {
      auto& made = detail::make_callback(on, "as_completed", {}, [whole = std::weak_ptr(self)] {
        if (auto const all = whole.lock()) all->timed_out();
      });
      made.arm(detail::deadline_after(on, *limit));
      made.retain();
      timer = &made;
    }
  }
  ~shared() { stop_timer(); }

  void stop_timer() noexcept {
    if (!timer) return;
    timer->cancel();
    std::exchange(timer, nullptr)->release();
  }

  void heard(detail::child_listener& which) noexcept override {
    std::shared_ptr<shared> const keep = --listening == 0 ? std::move(itself) : nullptr;
    bool const is_done = which.core()->done();
    which.take_back();
    if (is_done) {
      completed(handles.slot(handles.index_of(which)).handle());
    } else {  // nobody can complete it any more
      which.forget_core();
      handles.forget_gone(which);
    }
  }
  void child_done(detail::task_core&) noexcept override {}  // it starts none

  void completed(Handle const& which) noexcept {
    if (todo == 0) return;  // timed out first
    --todo;
    done.put_nowait(which);
    if (todo == 0) stop_timer();
  }

  void timed_out() noexcept {
    handles.for_each([this](auto& slot, std::size_t) {
      if (slot.listener()->stop_lent()) --listening;
    });
    for (; todo > 0; --todo) done.put_nowait(std::nullopt);
    stop_timer();
    if (listening == 0) itself = nullptr;
  }

  queue<std::optional<Handle>> done;
  detail::element_children<Handle> handles;
  std::shared_ptr<shared> itself;  // while it listens to any
  std::size_t listening = 0;
  std::size_t todo = 0;  // not done, and not timed out
  std::size_t left = 0;  // not given out by an iterator
  detail::callback* timer = nullptr;
};

template <class Handle>
task<Handle> completions<Handle>::wait_for_one(std::shared_ptr<shared> all) {
  std::optional<Handle> first = co_await all->done.get();
  if (!first) throw timeout_error();
  co_return std::move(*first);
}

template <class Handle>
task<typename completions<Handle>::value_type> completions<Handle>::result(
    std::shared_ptr<shared> all) {
  std::optional<Handle> first = co_await all->done.get();
  if (!first) throw timeout_error();
  if constexpr (std::is_copy_constructible_v<value_type> || std::is_void_v<value_type>) {
    co_return first->result();
  } else {
    co_return co_await std::move(*first);
  }
}

template <std::ranges::input_range Range>
auto as_completed(Range&& handles, std::optional<std::chrono::duration<double>> limit)
    -> completions<std::ranges::range_value_t<Range>> {
  using handle = std::ranges::range_value_t<Range>;
  static_assert(!is_task<handle>,
                "as_completed takes handles: start each task with create_task and keep its handle");
  std::vector<handle> given;
  for (auto&& each : handles) given.push_back(each);
  std::optional<time_point::duration> length;
  if (limit) length = detail::to_clock(*limit);
  return completions<handle>(std::move(given), length);
}

template <std::ranges::input_range Range, detail::plain_number Number>
auto as_completed(Range&& handles, Number) {
  AIO_REFUSE_NUMBER("as_completed", Number);
  return aio::as_completed(std::forward<Range>(handles));
}

}  // namespace aio::inline AIO_ABI

#pragma GCC visibility pop
