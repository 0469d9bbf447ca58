// SPDX-License-Identifier: MIT
#pragma once

// How what is awaited comes to know the frame that awaits it: a task, an awaiter of aio's, any other awaiter.

#include "aio/config.hpp"

#include <concepts>
#include <coroutine>
#include <cstddef>
#include <exception>
#include <type_traits>
#include <utility>

#include "aio/detail/exceptions.hpp"
#include "aio/detail/frame.hpp"
#include "aio/detail/scheduler.hpp"
#include "aio/detail/task_core.hpp"
#include "aio/detail/task_state.hpp"
#include "aio/detail/waitable.hpp"
#include "aio/error.hpp"
#pragma GCC visibility push(default)

namespace aio::inline AIO_ABI::detail {

template <class...>
inline constexpr bool always_false = false;

// ---- ending in an error

inline void note_end(frame_base& ended) noexcept {
  scheduler& on = ended.task->loop();
  if (on.debug()) [[unlikely]]
    on.note_error(ended);
}

/// Ends the coroutines that do nothing with the error of `ended` but to end in it themselves. Gives the one that is to
/// go on, or null.
AIO_NEVER_INLINE frame_base* pass_error_on(frame_base& ended, bool passes_on) noexcept {
  frame_base* at = &ended;
  while (passes_on && at->continuation) {
    frame_base& next = *at->continuation;
    passes_on = (next.marks & frame_base::ends_awaiter) != 0;
    next.set_ended(at->ended_cancelled());
    next.error = at->error;
    next.phase = frame_phase::ended;
    detail::note_end(next);
    at = &next;
  }
  return at->continuation;
}

/// Ends a coroutine that is suspended, as if it had thrown `error`: to throw it again in each of aio's own coroutines
/// on its way would cost more than all the rest. What lives in the frame goes when the one that awaits it is resumed.
AIO_NEVER_INLINE void end_in_error(frame_base& frame, std::exception_ptr error) noexcept {
  bool const passes_on = (frame.marks & frame_base::ends_awaiter) != 0;
  frame.set_ended(detail::is_cancellation(error));
  frame.error = std::move(error);
  frame.phase = frame_phase::ended;
  detail::note_end(frame);
  if (frame_base* const next = detail::pass_error_on(frame, passes_on)) frame.task->loop().resume_next = next;
}

/// Ends the coroutine that awaits this with an error.
class [[nodiscard]] end_with {
 public:
  explicit end_with(std::exception_ptr error) noexcept : error_(std::move(error)) {}
  void attach(frame_base& frame) noexcept { frame_ = &frame; }
  bool await_ready() const noexcept { return false; }
  void await_suspend(std::coroutine_handle<>) noexcept { detail::end_in_error(*frame_, std::move(error_)); }
  void await_resume() const noexcept {}

 private:
  std::exception_ptr error_;
  frame_base* frame_ = nullptr;
};

// ---- a task

// So many frames run inside each other's await before the trampoline takes over: enough to make
// the trampoline rare, few enough for any stack at -O0 and under sanitizers.
inline constexpr unsigned max_depth = 32;

/// Runs a child coroutine inside the await of its parent, without a trip through any queue.
template <class T>
class [[nodiscard]] child_run {
 public:
  explicit child_run(task<T>&& child) : child_(&task_access::release(child)) {}
  child_run(child_run&& other) noexcept : child_(std::exchange(other.child_, nullptr)) {}
  child_run& operator=(child_run&&) = delete;
  AIO_ALWAYS_INLINE ~child_run() {
    if (child_) block_layout<T>::free(*child_);
  }

  void attach(frame_base& parent) noexcept { parent_ = &parent; }

  AIO_ALWAYS_INLINE bool await_ready() {
    frame_base& child = *child_;
    child.task = parent_->task;
    child.phase = frame_phase::entered;
    scheduler& on = child.task->loop();
    if (on.depth == max_depth) [[unlikely]] {
      child.continuation = parent_;
      on.resume_next = &child;
      return false;
    }
    ++on.depth;
    child.resume();
    --on.depth;
    if (child.done()) return true;
    child.continuation = parent_;
    return false;
  }
  // The child is already on its way, and will hand the parent to the trampoline.
  void await_suspend(std::coroutine_handle<>) const noexcept {}

 protected:
  frame_base& child() noexcept { return *child_; }
  frame_base& parent() noexcept { return *parent_; }
  /// Requires: the child ended in one.
  std::exception_ptr take_error() noexcept {
    child_->destroy_frame();  // there may be something in it where it was not thrown
    return std::exchange(child_->error, nullptr);
  }

 private:
  frame_base* child_;
  frame_base* parent_ = nullptr;
};

template <class T>
class child_awaiter : public child_run<T> {
 public:
  using child_run<T>::child_run;
  child_awaiter(child_awaiter&&) noexcept = default;
  AIO_ALWAYS_INLINE ~child_awaiter() = default;

  AIO_ALWAYS_INLINE T await_resume() {
    frame_base& child = this->child();
    if (child.error) [[unlikely]]
      std::rethrow_exception(this->take_error());
    if constexpr (!std::is_void_v<T>) {
      return static_cast<T&&>(block_layout<T>::value(child));
    }
  }
};

/// The same for a coroutine that ends in whatever error the child ends in: it is not thrown there.
template <class T>
class ending_awaiter : public child_run<T> {
 public:
  using child_run<T>::child_run;

  AIO_ALWAYS_INLINE bool await_ready() {
    this->child().marks |= frame_base::ends_awaiter;
    return child_run<T>::await_ready() && !this->child().error;
  }
  void await_suspend(std::coroutine_handle<>) noexcept {
    if (this->child().done()) [[unlikely]]
      detail::end_in_error(this->parent(), this->take_error());
  }
  AIO_ALWAYS_INLINE T await_resume() {
    if constexpr (!std::is_void_v<T>) return static_cast<T&&>(block_layout<T>::value(this->child()));
  }
};
template <class T>
ending_awaiter(task<T>&&) -> ending_awaiter<T>;

// ---- what is not aio's

/// What is handed to a foreign awaiter in place of the coroutine: looks like a frame to
/// `coroutine_handle::resume()` on every compiler, and queues the task.
struct alignas(frame_alignment) resume_proxy {
  void (*resume)(resume_proxy*);
  void (*destroy)(resume_proxy*);

  std::coroutine_handle<> handle() noexcept { return std::coroutine_handle<>::from_address(this); }
};

template <class A>
concept awaiter = requires(A& a) {
  a.await_ready() ? 0 : 0;  // NOLINT(bugprone-branch-clone): whether it can be asked
  a.await_suspend(std::coroutine_handle<>());
  a.await_resume();
};

/// An awaiter that knows aio: it is told the frame that awaits it.
template <class A>
concept attachable = awaiter<A> && requires(A& a, frame_base& frame) { a.attach(frame); };

template <class A>
concept member_co_await = requires(A&& a) { static_cast<A&&>(a).operator co_await(); };
template <class A>
concept free_co_await = requires(A&& a) { operator co_await(static_cast<A&&>(a)); };

/// How to await types that are not awaitable by themselves, such as Asio's deferred operations:
/// a specialisation has `static ... adapt(A&&)`, which returns an awaiter by value.
template <class A>
struct await_adapter {};

template <class A>
concept adapted = requires(A&& a) { await_adapter<std::remove_cvref_t<A>>::adapt(static_cast<A&&>(a)); };

/// The awaiter of an awaitable.
template <class A>
decltype(auto) awaiter_of(A&& awaitable) {
  if constexpr (adapted<A>) {
    return await_adapter<std::remove_cvref_t<A>>::adapt(static_cast<A&&>(awaitable));
  } else if constexpr (member_co_await<A>) {
    return static_cast<A&&>(awaitable).operator co_await();
  } else if constexpr (free_co_await<A>) {
    return operator co_await(static_cast<A&&>(awaitable));
  } else {
    return static_cast<A&&>(awaitable);
  }
}

template <class A>
concept standard_awaitable =
    requires(A&& a) { requires awaiter<std::remove_reference_t<decltype(detail::awaiter_of(static_cast<A&&>(a)))>>; };

/// Holds the awaiter that `operator co_await` or an adapter made, and attaches it.
template <class Awaiter>
class attached {
 public:
  template <class Make>
  attached(frame_base& frame, Make make) : inner_(make()) {
    inner_.attach(frame);
  }
  AIO_ALWAYS_INLINE ~attached() = default;
  AIO_ALWAYS_INLINE bool await_ready() { return inner_.await_ready(); }
  AIO_ALWAYS_INLINE decltype(auto) await_suspend(std::coroutine_handle<> self) {
    return inner_.await_suspend(self);
  }
  AIO_ALWAYS_INLINE decltype(auto) await_resume() { return inner_.await_resume(); }

 private:
  Awaiter inner_;
};

/// Refers to an attached awaiter: one that lives in the `co_await` expression anyway. g++ 12
/// would copy the awaiter if it were returned by reference.
template <class Awaiter>
class attached_reference {
 public:
  explicit attached_reference(Awaiter& inner) noexcept : inner_(&inner) {}
  AIO_ALWAYS_INLINE bool await_ready() { return inner_->await_ready(); }
  AIO_ALWAYS_INLINE decltype(auto) await_suspend(std::coroutine_handle<> self) {
    return inner_->await_suspend(self);
  }
  AIO_ALWAYS_INLINE decltype(auto) await_resume() { return inner_->await_resume(); }

 private:
  Awaiter* inner_;
};

/// Awaits an awaiter that does not know aio. Its resumption, from any thread, queues the task.
/// Cancelled: it cannot be told; its result is delivered, and the cancellation is raised when
/// the task suspends next.
template <class Awaiter>
class foreign_awaiter final : private resume_proxy, private waitable {
 public:
  template <class Make>
  foreign_awaiter(frame_base& frame, Make make)
      : resume_proxy{&on_resume, &on_destroy}, inner_(make()), frame_(&frame) {}
  foreign_awaiter(foreign_awaiter const&) = delete;

  bool await_ready() { return static_cast<bool>(inner_.await_ready()); }

  bool await_suspend(std::coroutine_handle<>) {
    task_core& task = *frame_->task;
    scheduler& on = task.loop();
    before_ = &task.innermost();
    task.suspend_on(*frame_, *this);
    on.work_started();
    suspended_ = true;
    try {
      using answer = decltype(inner_.await_suspend(handle()));
      if constexpr (std::is_void_v<answer>) {
        inner_.await_suspend(handle());
      } else if constexpr (std::is_convertible_v<answer, std::coroutine_handle<>>) {
        std::coroutine_handle<> const next = inner_.await_suspend(handle());
        if (next == handle()) return stay();
        next.resume();
      } else {
        if (!inner_.await_suspend(handle())) return stay();
      }
    } catch (...) {
      stay();
      throw;
    }
    return true;
  }

  decltype(auto) await_resume() {
    if (suspended_) frame_->task->loop().work_finished();
    if (destroyed_) {
      throw usage_error("an awaited operation destroyed its coroutine_handle instead of "
                        "resuming it");
    }
    return inner_.await_resume();
  }

 private:
  bool stay() noexcept {
    frame_->task->loop().work_finished();
    frame_->task->stop_waiting(*before_);
    suspended_ = false;
    return false;
  }

  bool cancel_wait(task_core&, cancel_message const&) override { return false; }
  late cancelled_after_wake(task_core&) noexcept override { return late::keep; }

  static void on_resume(resume_proxy* proxy) {
    task_core& task = *static_cast<foreign_awaiter*>(proxy)->frame_->task;
    if (scheduler::running() == &task.loop()) {
      task.wake();
    } else {
      task.loop().push_from_thread(task);
    }
  }
  static void on_destroy(resume_proxy* proxy) {
    static_cast<foreign_awaiter*>(proxy)->destroyed_ = true;
    on_resume(proxy);
  }

  Awaiter inner_;
  frame_base* frame_;
  frame_base const* before_ = nullptr;  // the task's innermost frame when this began
  bool suspended_ = false;
  bool destroyed_ = false;
};

template <class A>
concept looks_like_asio_awaitable = requires {
  typename A::value_type;
  typename A::executor_type;
} && requires(A& a) { a.await_ready(); };

template <class A>
concept duration_like = requires(A const& a) {
  typename A::period;
  a.count();
};

// ---- what needs nothing of its own in the frame

/// Suspends the task by `suspend_in(frame)`, which is all that there is to it; what wakes it is the
/// task's own node.
template <class A>
concept self_suspending = requires(A& a, frame_base& frame) { a.suspend_in(frame); };

/// The rest of such a wait: the task is suspended when this is made.
struct suspended {
  bool await_ready() const noexcept { return false; }
  void await_suspend(std::coroutine_handle<>) const noexcept {}
  AIO_ALWAYS_INLINE void await_resume() const {
    task_core& task = *scheduler::running()->current;
    if (task.cancel_delivered()) [[unlikely]]
      task.throw_cancelled();
  }
};

}  // namespace aio::inline AIO_ABI::detail

#pragma GCC visibility pop
