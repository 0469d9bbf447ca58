// SPDX-License-Identifier: MIT
#pragma once

// Any operation of Asio, awaited.
//
//   asio::ip::tcp::socket socket(co_await asio::this_coro::executor);
//   co_await socket.async_connect(endpoint, aio::use_awaitable);
//   std::size_t n = co_await socket.async_read_some(asio::buffer(data), aio::use_awaitable);
//
//   using socket = aio::use_awaitable_t::as_default_on_t<asio::ip::tcp::socket>;
//   co_await s.async_connect(endpoint);                            // as its default token
//
//   auto [error, n] = co_await s.async_read_some(buffer, asio::as_tuple(aio::use_awaitable));
//
// Operations from asio::deferred can be awaited without a token.

#include "aio/config.hpp"
#include "aio/detail/keywords_off.hpp"  // before Asio

#include <concepts>
#include <coroutine>
#include <cstddef>
#include <exception>
#include <memory>
#include <optional>
#include <system_error>
#include <tuple>
#include <type_traits>
#include <utility>

#include <asio/any_io_executor.hpp>
#include <asio/async_result.hpp>
#include <asio/cancellation_signal.hpp>
#include <asio/error.hpp>
#include <asio/execution/context.hpp>
#include <asio/query.hpp>
#include <asio/system_error.hpp>
#include <asio/this_coro.hpp>

#include "aio/detail/frame_pool.hpp"
#include "aio/detail/task_core.hpp"
#include "aio/event_loop.hpp"
#include "aio/task.hpp"
#pragma GCC visibility push(default)

namespace aio {

/// The completion token that makes an Asio operation awaitable in an aio::task.
///
/// `co_await operation(..., use_awaitable)` starts the operation and gives its result: nothing,
/// a value, or a std::tuple of several.
///
/// Suspends: always.
/// Resumes: on the loop's thread, in the iteration after Asio completed the operation; where the
/// loop waits, that iteration is inside the completion.
/// Cancelled: asks Asio to cancel the operation, through its cancellation slot, and waits for it
/// to complete: nothing is pending any more when cancelled_error is thrown. If it completed with
/// a result after all, that is delivered, and the cancellation is thrown at the next suspension
/// (D3). An operation on an object of another io_context is not told.
/// Throws: std::system_error for an error code; the exception, for operations that complete with
/// an exception_ptr.
/// Lifetime: buffers and the I/O object must live until it completes, as with any token.
/// Allocations: none from malloc in the steady state; the operation lives in the frame pool.
struct use_awaitable_t {
  constexpr use_awaitable_t() = default;

  /// An executor with this as its default token.
  template <class Executor>
  struct executor_with_default : Executor {
    using default_completion_token_type = use_awaitable_t;

    executor_with_default(Executor const& inner) noexcept : Executor(inner) {}
    template <class Other>
      requires(!std::same_as<Other, executor_with_default> &&
               std::is_convertible_v<Other const&, Executor>)
    executor_with_default(Other const& other) noexcept : Executor(other) {}
  };

  /// The I/O object type T with this as its default token.
  template <class T>
  using as_default_on_t =
      typename T::template rebind_executor<executor_with_default<typename T::executor_type>>::other;

  /// `object`, as that type.
  template <class T>
  static as_default_on_t<std::decay_t<T>> as_default_on(T&& object) {
    return as_default_on_t<std::decay_t<T>>(std::forward<T>(object));
  }
};

inline constexpr use_awaitable_t use_awaitable{};

// ---------------------------------------------------------------- implementation

namespace detail {

// ---- what a completion says

inline bool is_aborted(std::error_code const& error) noexcept {
  return error == asio::error::operation_aborted;
}
inline bool is_aborted(std::exception_ptr const& error) noexcept {
  if (!error) return false;
  try {
    std::rethrow_exception(error);
  } catch (std::system_error const& e) {
    return detail::is_aborted(e.code());
  } catch (cancelled_error const&) {
    return true;
  } catch (...) {
    return false;
  }
}
template <class... R>
bool is_aborted(std::tuple<R...> const& values) noexcept {
  if constexpr (sizeof...(R) == 0) {
    return false;
  } else {
    if constexpr (requires { detail::is_aborted(std::get<0>(values)); }) {
      return detail::is_aborted(std::get<0>(values));
    } else {
      return false;
    }
  }
}

template <class First>
inline constexpr bool is_status =
    std::is_same_v<First, std::error_code> || std::is_same_v<First, std::exception_ptr>;

inline void throw_status(std::error_code const& error) {
  if (error) throw std::system_error(error);
}
inline void throw_status(std::exception_ptr const& error) {
  if (error) std::rethrow_exception(error);
}

/// Nothing, the value, or a tuple of the values.
template <class... R>
auto unwrap(std::tuple<R...>&& values) {
  if constexpr (sizeof...(R) == 0) {
    return;
  } else if constexpr (is_status<std::tuple_element_t<0, std::tuple<R...>>>) {
    detail::throw_status(std::get<0>(values));
    return std::apply(
        [](auto&, auto&... rest) {
          return detail::unwrap(std::tuple<std::decay_t<decltype(rest)>...>(std::move(rest)...));
        },
        values);
  } else if constexpr (sizeof...(R) == 1) {
    return std::get<0>(std::move(values));
  } else {
    return std::move(values);
  }
}

// ---- cancelling

/// Where an operation leaves what cancels it: an asio::cancellation_signal for one operation, which
/// has its memory in the awaiter. Has no destructor, which compilers would run with every awaiter:
/// leave() it at the end.
class cancel_hook {
 public:
  cancel_hook() noexcept = default;
  cancel_hook(cancel_hook const&) = delete;

  void emit(asio::cancellation_type_t type) {
    if (act_) act_(room_, type);
  }
  [[nodiscard]] bool has_handler() const noexcept { return act_ != nullptr; }
  void clear() noexcept {
    act_ = nullptr;
    leave();
  }
  /// clear() when nobody will look any more.
  AIO_ALWAYS_INLINE void leave() noexcept {
    if (destroy_) [[unlikely]] std::exchange(destroy_, nullptr)(room_);
  }

  template <class Handler, class... Args>
  Handler& emplace(Args&&... args) {
    if (act_) clear();
    if constexpr (fits<Handler>) {
      auto* const made = ::new (static_cast<void*>(room_)) Handler(std::forward<Args>(args)...);
      act_ = [](std::byte* at, asio::cancellation_type_t type) {
        (*std::launder(reinterpret_cast<Handler*>(at)))(type);
      };
      if constexpr (!std::is_trivially_destructible_v<Handler>) {
        destroy_ = [](std::byte* at) noexcept {
          std::destroy_at(std::launder(reinterpret_cast<Handler*>(at)));
        };
      }
      return *made;
    } else {
      return *emplace<boxed<Handler>>(std::forward<Args>(args)...).held;
    }
  }

 private:
  // What sockets and timers leave there is three pointers large.
  static constexpr std::size_t room = 4 * sizeof(void*);
  template <class Handler>
  static constexpr bool fits = sizeof(Handler) <= room && alignof(Handler) <= alignof(void*);

  template <class Handler>
  struct boxed {
    template <class... Args>
    explicit boxed(Args&&... args) : held(std::make_unique<Handler>(std::forward<Args>(args)...)) {}
    void operator()(asio::cancellation_type_t type) { (*held)(type); }
    std::unique_ptr<Handler> held;
  };

  void (*act_)(std::byte*, asio::cancellation_type_t) = nullptr;  // null: nothing is there
  void (*destroy_)(std::byte*) noexcept = nullptr;                // null: nothing to do
  alignas(void*) std::byte room_[room];
};

/// The slot of a cancel_hook, or of none: what asio::cancellation_slot is to a signal.
class cancel_slot {
 public:
  constexpr cancel_slot() noexcept = default;
  explicit cancel_slot(cancel_hook* hook) noexcept : hook_(hook) {}

  [[nodiscard]] bool is_connected() const noexcept { return hook_ != nullptr; }
  [[nodiscard]] bool has_handler() const noexcept { return hook_ && hook_->has_handler(); }
  void clear() {
    if (hook_) hook_->clear();
  }
  template <class Handler, class... Args>
  Handler& emplace(Args&&... args) {
    return hook_->emplace<Handler>(std::forward<Args>(args)...);
  }
  template <class Handler>
  std::decay_t<Handler>& assign(Handler&& handler) {
    return emplace<std::decay_t<Handler>>(std::forward<Handler>(handler));
  }

  /// For code that wants Asio's own type.
  operator asio::cancellation_slot() const {  // NOLINT(google-explicit-constructor): they are one thing
    if (!hook_) return {};
    return hook_->emplace<forwarding>().signal->slot();
  }

  friend bool operator==(cancel_slot a, cancel_slot b) noexcept { return a.hook_ == b.hook_; }

 private:
  struct forwarding {
    void operator()(asio::cancellation_type_t type) { signal->emit(type); }
    std::unique_ptr<asio::cancellation_signal> signal = std::make_unique<asio::cancellation_signal>();
  };

  cancel_hook* hook_ = nullptr;
};

// ---- the operation

/// What the completion handler sees of the awaiter in the coroutine frame.
template <class... R>
class io_state : public waitable {
 public:
  void attach(frame_base& frame) noexcept { frame_ = &frame; }

  bool cancel_wait(task_core& task, cancel_message const& message) override {
    if (progress_ != progress::pending && progress_ != progress::asked) return false;
    if (progress_ == progress::pending) task.note_cancellation(message);  // the first counts (CAN-10)
    progress_ = progress::asked;
    try {
      hook_.emit(asio::cancellation_type::all);
    } catch (...) {  // whoever cancels cannot tell that from an error of its own, and may be a group's end
      scheduler::report(context_of("the cancellation handler of an operation failed", std::current_exception()));
    }
    return true;
  }
  late cancelled_after_wake(task_core&) noexcept override { return late::keep; }

 protected:
  enum class progress : std::uint8_t {
    none,       // not started
    pending,    // can be cancelled
    asked,      // was asked to be cancelled
    foreign,    // pending on another context: it completes on some thread, and cannot be cancelled
    failing,    // its start threw, and the handler is somewhere still
    completed,  // values_ is there, and nothing else has to be looked at
    ended,      // it is over, in some other way
  };

  io_state() noexcept = default;
  io_state(io_state&&) noexcept {}  // before it is awaited there is nothing to move
  ~io_state() = default;

  class handler {
   public:
    using cancellation_slot_type = cancel_slot;
    using allocator_type = pool_allocator<void>;

    explicit handler(io_state& state) noexcept : state_(&state) {}
    handler(handler&& other) noexcept : state_(std::exchange(other.state_, nullptr)) {}
    handler& operator=(handler&&) = delete;
    ~handler() {
      if (state_) state_->dropped();
    }

    template <class... A>
    void operator()(A&&... values) {
      std::exchange(state_, nullptr)->complete(std::forward<A>(values)...);
    }

    /// Of an operation on another context, too, which is never told.
    [[nodiscard]] cancellation_slot_type get_cancellation_slot() const noexcept {
      return cancel_slot(&state_->hook_);
    }
    [[nodiscard]] allocator_type get_allocator() const noexcept { return {}; }

   private:
    io_state* state_;
  };

  [[nodiscard]] task_core& task() const noexcept { return *frame_->task; }
  [[nodiscard]] event_loop& loop() const noexcept {
    return static_cast<event_loop&>(frame_->task->loop());
  }

  /// Before the operation starts; `own` says that it belongs to the loop's context.
  /// Requires: no cancellation is pending.
  AIO_ALWAYS_INLINE void begin(event_loop& on, bool own) {
    progress_ = progress::pending;
    on.io_started();
    if (!own) [[unlikely]] begin_foreign(on);
    task().suspend_on_checked(*frame_, *this);
  }

  /// The start is over. What it left to cancel an operation that has completed goes.
  void started() noexcept {
    if (completed()) [[unlikely]] hook_.leave();
  }

  /// The start threw `error`. The handler is somewhere still, or was destroyed: its end wakes the
  /// task either way.
  void start_failed(std::exception_ptr error) noexcept {
    if (progress_ == progress::completed) progress_ = progress::ended;
    if (progress_ == progress::pending) progress_ = progress::failing;
    failed_ = true;
    ::new (static_cast<void*>(error_)) std::exception_ptr(std::move(error));
  }

  [[nodiscard]] bool completed() const noexcept { return progress_ == progress::completed; }
  /// Where it is not: counts the operation out, and throws what ended it. Else there are values.
  AIO_NEVER_INLINE void end_otherwise() {
    hook_.clear();
    progress const before = std::exchange(progress_, progress::ended);
    if (before != progress::ended && before != progress::none) {  // it completed on another thread
      loop().io_finished();
      if (before == progress::foreign) loop().work_finished();
    }
    if (before == progress::asked) settle_cancellation();
    std::exception_ptr error;
    if (std::exchange(failed_, false)) {
      auto* const stored = std::launder(reinterpret_cast<std::exception_ptr*>(error_));
      error = std::move(*stored);
      std::destroy_at(stored);
    }
    if (task().cancel_delivered()) task().throw_cancelled();
    if (error) std::rethrow_exception(std::move(error));
    if (!values_) {
      throw usage_error("Asio destroyed the operation without completing it: its io_context or "
                        "service was shut down");
    }
  }

  frame_base* frame_ = nullptr;
  std::optional<std::tuple<R...>> values_;

 private:
  AIO_NEVER_INLINE void begin_foreign(event_loop& on) {
    on.work_started();
    progress_ = progress::foreign;
  }

  template <class... A>
  AIO_ALWAYS_INLINE void complete(A&&... values) {
    values_.emplace(std::forward<A>(values)...);
    event_loop& on = loop();
    if (on.on_loop_thread() && progress_ == progress::pending) [[likely]] {
      progress_ = progress::completed;
      hook_.leave();
      on.io_finished();
      on.resume_from_handler(task());
    } else {
      arrive_otherwise();
    }
  }

  void settle_cancellation() noexcept {
    if (values_ && !detail::is_aborted(*values_)) {
      task().keep_noted_cancellation();  // it came too late
    } else {
      task().deliver_noted_cancellation();
    }
  }

  // Asio destroyed the handler without calling it. A loop that std::exit() destroyed while it ran left
  // its tasks behind: if its context follows nobody is there to hear of it.
  AIO_COLD AIO_NEVER_INLINE void dropped() noexcept {
    if (scheduler::is_open(&task().loop(), 0)) arrive_otherwise();
  }

  // On another thread, in another context on the same one, dropped, or asked to be cancelled meanwhile.
  AIO_NEVER_INLINE void arrive_otherwise() noexcept {
    if (!loop().on_loop_thread() ||
        (progress_ == progress::foreign && scheduler::running() != &loop())) {
      loop().push_from_thread(task());
      return;
    }
    if (progress_ == progress::foreign) {
      task().wake();
      return;
    }
    bool const asked = std::exchange(progress_, progress::ended) == progress::asked;
    loop().io_finished();
    if (asked) settle_cancellation();
    task().wake();
  }

  cancel_hook hook_;
  progress progress_ = progress::none;  // the loop's thread only
  bool failed_ = false;                  // there is an exception_ptr in error_
  // A member of that type would give every awaiter a destructor.
  alignas(std::exception_ptr) std::byte error_[sizeof(std::exception_ptr)];
};

/// Whether an operation's executor runs on the loop's context. Only then may the loop's thread
/// cancel it.
template <class Initiation>
bool belongs_to(Initiation const& initiation, event_loop& loop) {
  if constexpr (requires { initiation.get_executor().context(); }) {
    return static_cast<asio::execution_context const*>(&initiation.get_executor().context()) ==
           &loop.context();
  } else if constexpr (requires {
                         asio::query(initiation.get_executor(), asio::execution::context);
                       }) {
    return &asio::query(initiation.get_executor(), asio::execution::context) ==
           static_cast<asio::execution_context const*>(&loop.context());
  } else {
    return true;
  }
}

template <class Initiation, class Arguments, class... R>
class [[nodiscard("co_await it: the operation does not start before")]] io_awaiter
    : private io_state<R...> {
  using base = io_state<R...>;
  using handler = typename base::handler;

 public:
  template <class I, class... A>
  explicit io_awaiter(std::in_place_t, I&& initiation, A&&... arguments)
      : initiation_(std::forward<I>(initiation)), arguments_(std::forward<A>(arguments)...) {}
  io_awaiter(io_awaiter&&) = default;
  ~io_awaiter() = default;

  using base::attach;

  bool await_ready() const noexcept { return false; }
  void await_suspend(std::coroutine_handle<>) {
    if (this->task().cancel_pending()) [[unlikely]] {  // thrown in the next step; the operation does not start
      this->task().suspend_cancelled(*this->frame_);
      return;
    }
    event_loop& on = this->loop();
    base::begin(on, detail::belongs_to(initiation_, on));
    try {
      std::apply(
          [&](auto&&... each) {
            std::move(initiation_)(handler(*this), std::forward<decltype(each)>(each)...);
          },
          std::move(arguments_));
      base::started();
    } catch (...) {
      base::start_failed(std::current_exception());
    }
  }

  AIO_ALWAYS_INLINE auto await_resume() {
    if (!this->completed()) [[unlikely]] base::end_otherwise();
    return detail::unwrap(std::move(*this->values_));
  }

 private:
  Initiation initiation_;
  Arguments arguments_;
};

// ---- awaiting without a token

/// A deferred operation: called with a token it starts.
template <class A>
concept deferred_operation = !is_task<A> && requires(A&& a) { std::move(a)(use_awaitable); } &&
                             requires(A&& a) { std::move(a)(use_awaitable).await_resume(); };

template <deferred_operation A>
struct await_adapter<A> {
  template <class B>
  static auto adapt(B&& operation) {
    return std::forward<B>(operation)(use_awaitable);
  }
};

/// co_await asio::this_coro::executor: that of the loop.
template <>
struct await_adapter<asio::this_coro::executor_t> {
  struct awaiter {
    void attach(frame_base& frame) noexcept { loop = &frame.task->loop(); }
    bool await_ready() const noexcept { return true; }
    void await_suspend(std::coroutine_handle<>) const noexcept {}
    asio::io_context::executor_type await_resume() const noexcept {
      return static_cast<event_loop*>(loop)->get_executor();
    }
    scheduler* loop = nullptr;
  };
  static awaiter adapt(asio::this_coro::executor_t) noexcept { return {}; }
};

}  // namespace detail
}  // namespace aio

template <class... R>
struct asio::async_result<aio::use_awaitable_t, void(R...)> {
  template <class Initiation, class... Args>
  using awaiter = aio::detail::io_awaiter<std::decay_t<Initiation>, std::tuple<std::decay_t<Args>...>,
                                          std::decay_t<R>...>;

  // Not auto: Asio asks for the type with arguments that could not be stored.
  template <class Initiation, class... Args>
  static awaiter<Initiation, Args...> initiate(Initiation&& initiation, aio::use_awaitable_t,
                                               Args&&... args) {
    return awaiter<Initiation, Args...>(std::in_place, std::forward<Initiation>(initiation),
                                        std::forward<Args>(args)...);
  }
};

namespace asio {

/// Refuses tasks of aio with a sentence, in place of the pages that Asio's own overloads would say.
template <class Executor, class T, class Token>
void co_spawn(Executor const&, aio::task<T>&&, Token&&) {
  static_assert(aio::detail::always_false<T>,
                "asio::co_spawn runs coroutines of Asio: for a task of aio write loop.create_task(f()), with an "
                "aio::event_loop on the context");
}
template <class Executor, class T, class Token>
void co_spawn(Executor const& on, aio::task<T>& coroutine, Token&& token) {
  asio::co_spawn(on, std::move(coroutine), std::forward<Token>(token));
}

}  // namespace asio

#pragma GCC visibility pop

#include "aio/detail/keywords_back.hpp"
