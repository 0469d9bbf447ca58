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
// Asio's adapters of tokens go around it as around any other: bind_allocator, bind_cancellation_slot, bind_executor and
// redirect_error in every version; as_tuple, append, prepend and deferred, which with Asio 1.22 and 1.23 are in
// asio::experimental; consign and cancel_after where Asio has them (1.28 and 1.34 do, 1.24 and 1.30 do not).
// Operations from deferred can be awaited without a token.

#include "aio/config.hpp"
#include "aio/detail/keywords_off.hpp"  // before Asio

#include <atomic>
#include <concepts>
#include <coroutine>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <memory>
#include <new>
#include <optional>
#include <system_error>
#include <tuple>
#include <type_traits>
#include <utility>

#include <asio/any_io_executor.hpp>
#include <asio/associated_executor.hpp>
#include <asio/associator.hpp>
#include <asio/async_result.hpp>
#include <asio/cancellation_signal.hpp>
#include <asio/execution/context.hpp>
#include <asio/io_context.hpp>
#include <asio/post.hpp>
#include <asio/query.hpp>
#include <asio/redirect_error.hpp>
#include <asio/system_error.hpp>
#include <asio/this_coro.hpp>

#include <asio/detail/reactor.hpp>  // needs io_context.hpp before it

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
/// to complete: nothing is pending any more when cancelled_error is thrown. Any error code that it
/// then completes with is the cancellation's, and so is any std::system_error. If it completed with
/// a result after all, that is delivered, and the cancellation is thrown at the next suspension
/// (D3). With asio::bind_cancellation_slot it listens to that slot alone, and is only waited for.
/// Throws: std::system_error if the first value is an error code, which is not given then; the
/// exception, if it is an exception_ptr; std::bad_alloc, and whatever else leaves a step of the operation.
/// Threads: an operation on an object of another context is started and cancelled there, by
/// functions on the object's executor. Where several threads run it, that has to be a strand.
/// Lifetime: buffers must live until it completes, as with any token. An I/O object that goes ends
/// its operations; one of another context must live until they have completed.
/// Allocations: none from malloc in the steady state, on objects of the loop's context; the
/// operation lives in the frame pool.
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

template <class First>
inline constexpr bool is_status =
    std::is_same_v<First, std::error_code> || std::is_same_v<First, std::exception_ptr>;

/// How an operation ended that was asked to: in an error, or not; or its values say nothing of it.
enum class ending : std::uint8_t { unsaid, error, result };

inline ending how_ended(std::error_code const& error) noexcept { return error ? ending::error : ending::result; }
/// Exceptions that nobody throws to say that an operation was cancelled are results: they are not to be lost.
inline ending how_ended(std::exception_ptr const& error) noexcept {
  if (!error) return ending::result;
  try {
    std::rethrow_exception(error);
  } catch (std::system_error const&) {
    return ending::error;
  } catch (cancelled_error const&) {
    return ending::error;
  } catch (...) {
    return ending::result;
  }
}
template <class Other>
ending how_ended(Other const& values) noexcept;
template <class First, class... Rest>
ending how_ended(std::tuple<First, Rest...> const& values) noexcept;

/// Of several, each with a status: the result of one would be lost with the errors of the others.
inline void join(ending& all, ending one) noexcept {
  if (all != ending::result && one != ending::unsaid) all = one;
}
template <class Other>
ending how_ended(Other const& values) noexcept {
  ending all = ending::unsaid;
  if constexpr (requires { requires is_status<std::decay_t<decltype(*values.begin())>>; }) {
    for (auto const& each : values) detail::join(all, detail::how_ended(each));
  }
  return all;
}
template <class First, class... Rest>
ending how_ended(std::tuple<First, Rest...> const& values) noexcept {
  if constexpr (is_status<First>) return detail::how_ended(std::get<0>(values));
  return std::apply(
      [](auto const&... each) {
        ending all = ending::unsaid;
        (detail::join(all, detail::how_ended(each)), ...);
        return all;
      },
      values);
}

inline void throw_status(std::error_code const& error) {
  if (error) throw std::system_error(error);
}
inline void throw_status(std::exception_ptr const& error) {
  if (error) std::rethrow_exception(error);
}

/// Nothing, the value, or a tuple of the values.
template <class... R>
auto pack(R&... values) {
  if constexpr (sizeof...(R) == 1) {
    return (std::move(values), ...);
  } else if constexpr (sizeof...(R) > 1) {
    return std::tuple<R...>(std::move(values)...);
  }
}

/// The same, without the status that comes first: only that one says how the operation ended.
template <class... R>
auto unwrap(std::tuple<R...>& values) {
  return std::apply(
      []<class... Each>(Each&... each) {
        if constexpr (sizeof...(Each) > 0) {
          return []<class First, class... Rest>(First& first, Rest&... rest) {
            if constexpr (is_status<First>) {
              detail::throw_status(first);
              return detail::pack(rest...);
            } else {
              return detail::pack(first, rest...);
            }
          }(each...);
        }
      },
      values);
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

  /// What a socket or descriptor leaves there refers to a pointer inside of it. A copy of that is as good
  /// where the object was moved away or is gone: what it points to, the reactor keeps.
  template <class Handler, class State, class... More>
  Handler& emplace(asio::detail::reactor* reactor, State** inside, More... more) {
    return emplace<keeping<Handler, State>>(reactor, *inside, more...).handler;
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
  // What sockets leave there is three pointers large, and `keeping` adds one.
  static constexpr std::size_t room = 4 * sizeof(void*);
  template <class Handler>
  static constexpr bool fits = sizeof(Handler) <= room && alignof(Handler) <= alignof(void*);

  template <class Handler, class State>
  struct keeping {
    template <class... More>
    keeping(asio::detail::reactor* reactor, State* pointer, More... more)
        : state(pointer), handler(reactor, &state, more...) {}
    keeping(keeping const&) = delete;
    void operator()(asio::cancellation_type_t type) { handler(type); }
    State* state;
    Handler handler;
  };

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

/// What does not depend on the values: an operation that a task waits for.
class io_base : public loop_operation {
 public:
  void attach(frame_base& frame) noexcept { frame_ = &frame; }

  bool cancel_wait(task_core& task, cancel_message const& message) override {
    if (elsewhere_) return cancel_remotely(task, message);
    if (progress_ == progress::pending || progress_ == progress::lent) {
      task.note_cancellation(message);  // the first counts (CAN-10)
      progress_ = progress::asked;
    } else if (progress_ != progress::asked) {
      return false;
    }
    if (!in_line_) loop().tell_soon(*this);
    return true;
  }
  late cancelled_after_wake(task_core&) noexcept override { return late::keep; }

  void tell() override { hook_.emit(asio::cancellation_type::all); }
  void fail(std::exception_ptr const& error) noexcept override;

  /// It ended in an error, of which its values say nothing.
  void note_error() noexcept { erred_ = true; }

  [[nodiscard]] cancel_slot slot() noexcept { return cancel_slot(&hook_); }
  [[nodiscard]] loop_core& loop() const noexcept { return static_cast<loop_core&>(frame_->task->loop()); }

  /// Asio destroyed the handler without calling it.
  AIO_COLD AIO_NEVER_INLINE void dropped() noexcept {
    // A loop that std::exit() destroyed while it ran left its tasks behind: if its context follows nobody is
    // there to hear of it.
    if (!scheduler::is_open(&task().loop(), 0)) return;
    // Perhaps because of an exception, which the loop will find behind its last handler.
    bool const unwinding = std::uncaught_exceptions() > 0 && !elsewhere_ && loop().on_loop_thread();
    arrive_otherwise();
    if (unwinding) loop().thrown_out(*this);
  }

 protected:
  enum class progress : std::uint8_t {
    none,       // not started
    pending,    // can be cancelled
    lent,       // the same, and keeps a context going that the program runs
    asked,      // was asked to be cancelled
    failing,    // its start threw, and the handler is somewhere still
    completed,  // the values are there, and nothing else has to be looked at
    ended,      // it is over, in some other way
  };

  /// An operation on an object of another context, as threads share it: whoever starts, tells and ends it.
  class remote;

  io_base() noexcept = default;
  io_base(io_base&&) noexcept {}  // before it is awaited there is nothing to move
  ~io_base() = default;

  [[nodiscard]] virtual bool has_values() const noexcept = 0;
  [[nodiscard]] virtual ending how_values_ended() const noexcept = 0;
  /// Starts it, on the thread of its object.
  virtual void start() noexcept = 0;

  [[nodiscard]] task_core& task() const noexcept { return *frame_->task; }

  /// Whether a cancellation will be thrown in the next step, and the operation does not start.
  AIO_ALWAYS_INLINE bool cancelled_already() noexcept {
    if (!task().cancel_pending()) [[likely]] return false;
    task().suspend_cancelled(*frame_);
    progress_ = progress::ended;
    return true;
  }
  /// Whether begin_remotely() has been, so that this is the object's thread.
  [[nodiscard]] bool started_elsewhere() const noexcept { return elsewhere_; }

  /// Before the operation starts, on the context of a loop that has one of its own.
  /// Requires: no cancellation is pending.
  AIO_ALWAYS_INLINE void begin(loop_core& on) noexcept {
    progress_ = progress::pending;
    on.io_started();
    task().suspend_on_checked(*frame_, *this);
  }
  /// The same on a context that the program runs, which has to go on until it is over.
  AIO_COLD AIO_NEVER_INLINE void begin_lent(loop_core& on) noexcept {
    begin(on);
    progress_ = progress::lent;
    lent_ = true;
    on.work_started();
  }
  /// The same for an object of another context; starts it there.
  template <class Executor>
  void begin_remotely(loop_core& on, Executor const& executor);

  /// The start is over. What it left to cancel an operation that has completed goes.
  void started() noexcept {
    if (completed()) [[unlikely]] hook_.leave();
  }

  /// The start threw `error`. The handler is somewhere still, or was destroyed: its end wakes the
  /// task either way.
  void start_failed(std::exception_ptr const& error) noexcept {
    if (elsewhere_) return fail(error);
    if (progress_ == progress::completed) progress_ = progress::ended;
    if (progress_ == progress::pending || progress_ == progress::lent) progress_ = progress::failing;
    fail(error);
  }

  [[nodiscard]] bool completed() const noexcept { return progress_ == progress::completed; }
  /// Where it is not: counts the operation out, and throws what ended it. Else there are values.
  void end_otherwise();

  // On another thread, in another context on the same one, dropped, or asked to be cancelled meanwhile.
  void arrive_otherwise() noexcept;

  progress progress_ = progress::none;  // the loop's thread only, which leaves it while a remote_ is not over

 private:
  bool cancel_remotely(task_core& task, cancel_message const& message);

  void count_out() noexcept {
    if (in_line_) loop().leave_line(*this);
    loop().io_finished();
    if (std::exchange(lent_, false)) loop().work_finished();
  }
  void settle_cancellation() noexcept {
    if (has_values() && !erred_ && how_values_ended() != ending::error) {
      task().keep_noted_cancellation();  // it came too late
    } else {
      task().deliver_noted_cancellation();
    }
  }

  bool lent_ = false;       // holds work of a context that the program runs
  bool erred_ = false;      // see note_error()
  bool elsewhere_ = false;  // there is a remote_
  bool failed_ = false;     // there is an error: here, or in the remote_

 protected:
  frame_base* frame_ = nullptr;
  cancel_hook hook_;

 private:
  union {
    remote* remote_;
    // A member of that type would give every awaiter a destructor.
    alignas(std::exception_ptr) std::byte error_[sizeof(std::exception_ptr)];
  };
};

// Started there, and not on the loop's thread: an object belongs to the threads of its context. Until
// then it can be given up, so that a context which nobody runs keeps no task.
class io_base::remote {
 public:
  remote(remote const&) = delete;

  /// Gives up an operation that has not started, and says so.
  bool give_up() noexcept {
    stage expected = stage::waiting;
    return stage_.compare_exchange_strong(expected, stage::over);
  }
  [[nodiscard]] bool over() const noexcept { return stage_ == stage::over; }
  /// Its handler was called or destroyed.
  AIO_COLD AIO_NEVER_INLINE void end() noexcept {
    if (stage_.exchange(stage::over) == stage::running) wake();
  }

  AIO_COLD AIO_NEVER_INLINE void post_start() { run_there(step(*this, true)); }
  AIO_COLD AIO_NEVER_INLINE void post_tell() { run_there(step(*this, false)); }

  bool asked = false;        // to be cancelled; the loop's thread only
  std::exception_ptr error;  // belongs to whoever starts it, and when it is over to the loop's thread

  AIO_COLD AIO_NEVER_INLINE void release() noexcept {
    if (users_.fetch_sub(1, std::memory_order_acq_rel) == 1) delete this;
  }

 protected:
  explicit remote(io_base& operation) noexcept
      : operation_(operation), loop_(operation.loop()), task_(operation.task()) {}
  virtual ~remote() = default;

  /// What the object's executor runs.
  class step {
   public:
    step(remote& of, bool starts) noexcept : of_(&of), starts_(starts) { of.users_.fetch_add(1); }
    step(step&& other) noexcept : of_(std::exchange(other.of_, nullptr)), starts_(other.starts_) {}
    step& operator=(step&&) = delete;
    AIO_COLD AIO_NEVER_INLINE ~step() {
      if (!of_) return;
      if (starts_ && of_->give_up()) of_->wake();  // its context is gone
      of_->release();
    }
    AIO_COLD AIO_NEVER_INLINE void operator()() {
      if (starts_) {
        of_->start();
      } else {
        of_->tell();
      }
    }

   private:
    remote* of_;
    bool starts_;
  };

 private:
  virtual void run_there(step) = 0;

  enum class stage : std::uint8_t {
    waiting,  // for its start
    busy,     // a thread starts or tells it, and looks afterwards whether it is over
    running,
    over,
  };

  void start() noexcept {
    stage expected = stage::waiting;
    if (!stage_.compare_exchange_strong(expected, stage::busy)) return;
    operation_.start();
    be_busy_no_more();
  }
  AIO_COLD AIO_NEVER_INLINE void tell() noexcept {
    told_ = true;
    stage expected = stage::running;
    if (!stage_.compare_exchange_strong(expected, stage::busy)) return;  // who is busy will find told_
    told_ = false;
    try {
      operation_.tell();
    } catch (...) {
      scheduler::report_to(&loop_, loop_core::failed_cancelling(std::current_exception()));
    }
    be_busy_no_more();
  }
  AIO_COLD AIO_NEVER_INLINE void be_busy_no_more() noexcept {
    stage expected = stage::busy;
    if (!stage_.compare_exchange_strong(expected, stage::running)) {
      wake();
    } else if (told_) {
      tell();
    }
  }
  AIO_COLD AIO_NEVER_INLINE void wake() noexcept { loop_.push_from_thread(task_); }

  io_base& operation_;  // in the frame, which waits until this is over
  loop_core& loop_;
  task_core& task_;
  std::atomic<stage> stage_{stage::waiting};
  std::atomic<bool> told_{false};
  std::atomic<int> users_{1};
};

template <class Executor>
AIO_COLD AIO_NEVER_INLINE void io_base::begin_remotely(loop_core& on, Executor const& executor) {
  class remote_on final : public remote {
   public:
    remote_on(io_base& operation, Executor const& executor) : remote(operation), executor_(executor) {}

   private:
    AIO_COLD void run_there(step what) override {
      if constexpr (requires { executor_.execute(std::move(what)); }) {  // compilers have less to do than with post()
        executor_.execute(std::move(what));
      } else {
        asio::post(executor_, std::move(what));
      }
    }
    Executor executor_;
  };
  task().suspend_on_checked(*frame_, *this);
  on.work_started();
  try {
    remote_ = new remote_on(*this, executor);
    elsewhere_ = true;
    remote_->post_start();
  } catch (...) {
    fail(std::current_exception());
    if (!elsewhere_) task().wake();  // else the step that was destroyed did it
  }
}

AIO_COLD AIO_NEVER_INLINE void io_base::fail(std::exception_ptr const& error) noexcept {
  if (std::exchange(failed_, true)) return;
  if (elsewhere_) {
    remote_->error = error;
  } else {
    ::new (static_cast<void*>(error_)) std::exception_ptr(error);
  }
}

AIO_COLD AIO_NEVER_INLINE bool io_base::cancel_remotely(task_core& task, cancel_message const& message) {
  if (remote_->asked) return true;
  if (progress_ == progress::ended) return false;
  if (remote_->give_up()) {
    progress_ = progress::ended;
    task.wake_cancelled(message);
    return true;
  }
  if (remote_->over()) return false;
  task.note_cancellation(message);
  remote_->asked = true;
  try {
    remote_->post_tell();
  } catch (std::bad_alloc const&) {  // it is waited for
  }
  return true;
}

AIO_NEVER_INLINE void io_base::arrive_otherwise() noexcept {
  if (elsewhere_) return remote_->end();
  if (!loop().on_loop_thread()) {
    loop().push_from_thread(task());
    return;
  }
  bool const asked = std::exchange(progress_, progress::ended) == progress::asked;
  count_out();
  if (asked) settle_cancellation();
  task().wake();
}

AIO_NEVER_INLINE void io_base::end_otherwise() {
  hook_.clear();
  progress const before = std::exchange(progress_, progress::ended);
  bool const asked = before == progress::asked || (elsewhere_ && remote_->asked);
  if (elsewhere_ || before == progress::none) {
    loop().work_finished();
  } else if (before != progress::ended) {  // it completed on another thread
    count_out();
  } else if (in_line_) {
    loop().leave_line(*this);
  }
  if (asked) settle_cancellation();
  std::exception_ptr error;
  bool const failed = std::exchange(failed_, false);
  if (std::exchange(elsewhere_, false)) {
    error = std::move(remote_->error);
    remote_->release();
  } else if (failed) {
    auto* const stored = std::launder(reinterpret_cast<std::exception_ptr*>(error_));
    error = std::move(*stored);
    std::destroy_at(stored);
  }
  if (task().cancel_delivered()) task().throw_cancelled();
  if (error) std::rethrow_exception(std::move(error));
  if (!has_values()) {
    throw usage_error("Asio destroyed the operation without completing it: its io_context or "
                      "service was shut down, or an exception left one of its handlers");
  }
}

template <class... R>
class io_state;

/// The completion handler: sees the awaiter in the coroutine frame.
template <class... R>
class io_handler {
 public:
  using cancellation_slot_type = cancel_slot;
  using allocator_type = pool_allocator<void>;

  explicit io_handler(io_state<R...>& state) noexcept : state_(&state) {}
  io_handler(io_handler&& other) noexcept : state_(std::exchange(other.state_, nullptr)) {}
  io_handler& operator=(io_handler&&) = delete;
  ~io_handler() {
    if (state_) state_->dropped();
  }

  template <class... A>
  void operator()(A&&... values) {
    if (!state_) [[unlikely]] return refuse_call();
    std::exchange(state_, nullptr)->complete(std::forward<A>(values)...);
  }

  /// Of an operation that was told of another slot, too.
  [[nodiscard]] cancellation_slot_type get_cancellation_slot() const noexcept { return state_->slot(); }
  [[nodiscard]] allocator_type get_allocator() const noexcept { return {}; }

  [[nodiscard]] io_base* operation() const noexcept { return state_; }

 private:
  // No exception: what calls a handler is then compiled without the paths of one.
  AIO_COLD AIO_NEVER_INLINE static void refuse_call() noexcept {
    scheduler::report({.message = "the completion handler of an operation was called a second time, or after it was "
                                  "moved away"});
  }

  io_state<R...>* state_;
};

template <class... R>
class io_state : public io_base {
 public:
  template <class... A>
  AIO_ALWAYS_INLINE void complete(A&&... values) {
    if constexpr (std::is_nothrow_constructible_v<std::tuple<R...>, A...>) {
      values_.emplace(std::forward<A>(values)...);
    } else {
      try {
        values_.emplace(std::forward<A>(values)...);
      } catch (...) {
        fail(std::current_exception());
        return arrive_otherwise();
      }
    }
    loop_core& on = loop();
    if (on.on_loop_thread() && progress_ == progress::pending) [[likely]] {
      progress_ = progress::completed;
      hook_.leave();
      on.io_finished();
      on.resume_from_handler(task());
    } else {
      arrive_otherwise();
    }
  }

 protected:
  io_state() noexcept = default;
  io_state(io_state&& other) noexcept : io_base(std::move(other)) {}
  ~io_state() = default;

  bool has_values() const noexcept override { return values_.has_value(); }
  ending how_values_ended() const noexcept override { return detail::how_ended(*values_); }

  std::optional<std::tuple<R...>> values_;
};

/// The context of an operation's executor, where it names one.
template <class Initiation>
asio::execution_context* context_of(Initiation const& initiation) {
  if constexpr (requires { initiation.get_executor().context(); }) {
    return &initiation.get_executor().context();
  } else {
    return &asio::query(initiation.get_executor(), asio::execution::context);
  }
}
template <class Initiation>
concept names_context = requires(Initiation const& initiation) { initiation.get_executor().context(); } ||
                        requires(Initiation const& initiation) {
                          asio::query(initiation.get_executor(), asio::execution::context);
                        };

template <class Initiation, class Arguments, class... R>
class [[nodiscard("co_await it: the operation does not start before")]] io_awaiter final
    : private io_state<R...> {
  using base = io_state<R...>;

 public:
  template <class I, class... A>
  explicit io_awaiter(std::in_place_t, I&& initiation, A&&... arguments)
      : initiation_(std::forward<I>(initiation)), arguments_(std::forward<A>(arguments)...) {}
  io_awaiter(io_awaiter&&) = default;
  ~io_awaiter() = default;

  using base::attach;

  bool await_ready() const noexcept { return false; }
  void await_suspend(std::coroutine_handle<>) {
    loop_core& on = this->loop();
    if (is_on(on.own_context())) [[likely]] {
      if (base::cancelled_already()) [[unlikely]] return;
      base::begin(on);
    } else if (!begin_otherwise(on)) {
      return;
    }
    try {
      std::apply(
          [&](auto&&... each) {
            std::move(initiation_)(io_handler<R...>(*this), std::forward<decltype(each)>(each)...);
          },
          std::move(arguments_));
      base::started();
    } catch (...) {
      base::start_failed(std::current_exception());
    }
  }

  AIO_ALWAYS_INLINE auto await_resume() {
    if (!this->completed()) [[unlikely]] base::end_otherwise();
    return detail::unwrap(*this->values_);
  }

 private:
  /// Whether its executor runs on `context`, if that is any: one that names none counts as the loop's.
  [[nodiscard]] bool is_on(asio::io_context const* context) const {
    if constexpr (names_context<Initiation>) {
      return detail::context_of(initiation_) == static_cast<asio::execution_context const*>(context);
    } else {
      return context != nullptr;
    }
  }
  /// Says whether it is to be started here and now.
  AIO_COLD AIO_NEVER_INLINE bool begin_otherwise(loop_core& on) {
    if (base::started_elsewhere()) return true;
    if (base::cancelled_already()) return false;
    if (is_on(&on.context())) {
      base::begin_lent(on);
      return true;
    }
    if constexpr (names_context<Initiation>) base::begin_remotely(on, initiation_.get_executor());
    return false;
  }
  /// There the same function does it: another place that starts operations is another copy of all of Asio's code for it.
  void start() noexcept override { await_suspend({}); }

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
      return static_cast<loop_core*>(loop)->context().get_executor();
    }
    scheduler* loop = nullptr;
  };
  static awaiter adapt(asio::this_coro::executor_t) noexcept { return {}; }
};

// ---- what adapters of the token need

/// Which operation a handler completes, through all adapters around it; asked for like an associated executor.
template <class Handler, class Default>
struct associated_operation {
  using type = Default;
  static Default get(Handler const& handler, Default none = Default()) noexcept {
    using inside = asio::associator<aio::detail::associated_operation, Handler, Default>;
    if constexpr (requires { typename inside::type; }) {
      return inside::get(handler, none);
    } else {
      return none;
    }
  }
};
template <class... R, class Default>
struct associated_operation<io_handler<R...>, Default> {
  using type = Default;
  static Default get(io_handler<R...> const& handler, Default = Default()) noexcept { return handler.operation(); }
};

/// Whether a token is use_awaitable inside adapters.
template <class Token>
inline constexpr bool leads_to_use_awaitable = std::is_same_v<std::remove_cv_t<Token>, use_awaitable_t>;
template <template <class...> class Adapter, class Token, class... More>
inline constexpr bool leads_to_use_awaitable<Adapter<Token, More...>> = leads_to_use_awaitable<Token>;

/// asio::redirect_error's, which tells the operation of the error that it takes away.
template <class Handler>
class redirecting_handler {
 public:
  redirecting_handler(std::error_code& to, Handler&& inside) : to_(to), inner(std::move(inside)) {}

  template <class... Args>
  void operator()(std::error_code const& error, Args&&... args) {
    to_ = error;
    if (error) {
      if (io_base* const of = associated_operation<Handler, io_base*>::get(inner)) of->note_error();
    }
    std::move(inner)(std::forward<Args>(args)...);
  }
  template <class... Args>
  void operator()(Args&&... args) {
    std::move(inner)(std::forward<Args>(args)...);
  }

 private:
  std::error_code& to_;

 public:
  Handler inner;
};

template <class Signature>
struct without_error {
  using type = Signature;
};
template <class R, class... Args>
struct without_error<R(std::error_code, Args...)> {
  using type = R(Args...);
};
template <class R, class... Args>
struct without_error<R(std::error_code const&, Args...)> {
  using type = R(Args...);
};

/// An initiation, with a handler that `wrap` makes of the one that it is given.
template <class Initiation, class Wrap>
struct wrapping_initiation {
  template <class Handler, class... Args>
  void operator()(Handler&& handler, Args&&... args) && {
    std::move(inside)(wrap(std::forward<Handler>(handler)), std::forward<Args>(args)...);
  }
  auto get_executor() const noexcept
    requires requires(Initiation const& of) { of.get_executor(); }
  {
    return inside.get_executor();
  }
  Initiation inside;
  Wrap wrap;
};
struct wrap_redirecting {
  template <class Handler>
  redirecting_handler<std::decay_t<Handler>> operator()(Handler&& handler) const {
    return {*to, std::forward<Handler>(handler)};
  }
  std::error_code* to;
};

}  // namespace detail
}  // namespace aio

template <class... R>
struct asio::async_result<aio::use_awaitable_t, void(R...)> {
  using return_type = void;  // adapters of older Asio name it, and never use it

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

// In place of Asio's: that of older Asio wants to know the awaiter's type before the operation's, and none tells that
// an operation has ended in an error which is not among its values.
template <class Token, class Signature>
  requires aio::detail::leads_to_use_awaitable<Token>
struct asio::async_result<asio::redirect_error_t<Token>, Signature> {
  template <class Initiation, class Adapted, class... Args>
  static auto initiate(Initiation&& initiation, Adapted&& token, Args&&... args) {
    using wrapped = aio::detail::wrapping_initiation<std::decay_t<Initiation>, aio::detail::wrap_redirecting>;
    using inner = std::remove_reference_t<decltype((token.token_))>;
    return asio::async_initiate<inner, typename aio::detail::without_error<Signature>::type>(
        wrapped{std::forward<Initiation>(initiation), {&token.ec_}}, token.token_, std::forward<Args>(args)...);
  }
};
template <template <class, class> class Associator, class Handler, class Default>
struct asio::associator<Associator, aio::detail::redirecting_handler<Handler>, Default>
    : Associator<Handler, Default> {
  static auto get(aio::detail::redirecting_handler<Handler> const& handler) noexcept
      -> decltype(Associator<Handler, Default>::get(handler.inner)) {
    return Associator<Handler, Default>::get(handler.inner);
  }
  static auto get(aio::detail::redirecting_handler<Handler> const& handler, Default const& none) noexcept
      -> decltype(Associator<Handler, Default>::get(handler.inner, none)) {
    return Associator<Handler, Default>::get(handler.inner, none);
  }
};

namespace aio::detail {

template <class T, class Executor>
Executor executor_of(asio::associated_executor<T, Executor> const*);
/// What who asks for the executor of a handler falls back upon by default: asio::system_executor, or newer ones'
/// asio::inline_executor.
using default_executor = decltype(detail::executor_of(static_cast<asio::associated_executor<int> const*>(nullptr)));

}  // namespace aio::detail

namespace asio {

/// The executor of a handler, for an operation that has none of its own: a function on another thread that has the
/// handler called, or asio::post(aio::use_awaitable). It may be kept when the loop is gone. Who asks with an executor
/// to fall back upon, as operations of sockets and timers do, gets that one: through another, each is queued twice.
template <class... R>
struct associated_executor<aio::detail::io_handler<R...>, aio::detail::default_executor> {
  using type = aio::detail::loop_executor;
  static type get(aio::detail::io_handler<R...> const& handler, aio::detail::default_executor const& = {}) noexcept {
    auto const* const of = handler.operation();
    return of ? of->loop().handler_executor() : aio::detail::loop_executor(nullptr);
  }
};

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
