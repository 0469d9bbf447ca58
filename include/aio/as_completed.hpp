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

#include "aio/detail/handle_base.hpp"
#include "aio/detail/lighter_std.hpp"
#include "aio/detail/scheduler.hpp"
#include "aio/error.hpp"
#include "aio/queue.hpp"
#include "aio/sleep.hpp"
#include "aio/task.hpp"
#include "aio/wait.hpp"
#pragma GCC visibility push(default)

namespace aio {

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

  completions(std::vector<Handle> handles, std::optional<time_point::duration> limit)
      : shared_(std::make_shared<shared>()) {
    shared_->begin(shared_, std::move(handles), limit);
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
struct completions<Handle>::shared {
  // A callback of each handle that is not done; keeps all of this alive until it ran.
  struct node : detail::removable_node {
    node() noexcept : removable_node(&on_done) {}
    static void on_done(detail::ready_node* at) noexcept {
      auto& self = *static_cast<node*>(at);
      auto const keep = std::exchange(self.whole, nullptr);
      self.stop_listening();
      if (self.handle->done()) {
        keep->completed(self);
      } else {  // nobody can complete it any more
        (void)Handle(std::move(*self.handle));
      }
    }
    // The handle is lent: whoever can complete what it stands for keeps this, and not this that.
    void listen(std::shared_ptr<shared> const& all, Handle& to) noexcept {
      whole = all;
      handle = &to;
      listed = true;
      auto& state = detail::handle_access::state(to);
      state.add_callback(*this);
      state.lend();
    }
    void stop_listening() noexcept {
      listed = false;
      detail::handle_access::state(*handle).take_back();
    }
    std::shared_ptr<shared> whole;
    Handle* handle = nullptr;
    bool listed = false;
  };

  void begin(std::shared_ptr<shared> const& self, std::vector<Handle> given,
             std::optional<time_point::duration> limit) {
    detail::scheduler& on = detail::scheduler::require_running("as_completed");
    detail::keep_distinct(given, "as_completed");
    handles = std::move(given);
    left = todo = handles.size();
    nodes = std::make_unique<node[]>(todo);
    // The queue grows now: a callback could tell nobody that there was no memory.
    for (std::size_t i = 0; i < todo; ++i) done.put_nowait(std::nullopt);
    for (std::size_t i = 0; i < todo; ++i) (void)done.get_nowait();
    for (std::size_t i = 0; i < todo; ++i) {
      nodes[i].listen(self, handles[i]);
    }
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

  void completed(node& which) noexcept {
    if (todo == 0) return;  // timed out first
    --todo;
    done.put_nowait(*which.handle);
    if (todo == 0) stop_timer();
  }

  void timed_out() noexcept {
    for (std::size_t i = 0; i < handles.size(); ++i) {
      if (!nodes[i].listed) continue;
      if (detail::handle_access::state(handles[i]).remove_callback(nodes[i])) {
        nodes[i].stop_listening();
        nodes[i].whole = nullptr;
      }
    }
    for (; todo > 0; --todo) done.put_nowait(std::nullopt);
    stop_timer();
  }

  queue<std::optional<Handle>> done;
  std::vector<Handle> handles;
  std::unique_ptr<node[]> nodes;
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

}  // namespace aio

#pragma GCC visibility pop
