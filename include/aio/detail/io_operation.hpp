// SPDX-License-Identifier: MIT
#pragma once

// An operation of Asio that a task waits for: on the loop's context, on one that the program runs, on another's.

#include "aio/config.hpp"
#include "aio/detail/keywords_off.hpp"  // before Asio

#include <atomic>
#include <coroutine>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <memory>
#include <new>
#include <optional>
#include <source_location>
#include <tuple>
#include <type_traits>
#include <utility>

#include "aio/detail/asio/any_io_executor.hpp"
#include "aio/detail/asio/async_result.hpp"
#include "aio/detail/asio/cancellation_signal.hpp"
#include "aio/detail/asio/execution/context.hpp"
#include "aio/detail/asio/io_context.hpp"
#include "aio/detail/asio/post.hpp"
#include "aio/detail/asio/query.hpp"

#include "aio/detail/cancel_hook.hpp"
#include "aio/detail/completion.hpp"
#include "aio/detail/frame.hpp"
#include "aio/detail/frame_pool.hpp"
#include "aio/detail/loop_core.hpp"
#include "aio/detail/task_core.hpp"
#include "aio/detail/waitable.hpp"
#include "aio/system_error.hpp"
#pragma GCC visibility push(default)

namespace aio::inline AIO_ABI::detail {

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
  AIO_COLD inline void fail(std::exception_ptr const& error) noexcept override;

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
  /// The end of one that was not started.
  class not_started;

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
    if (!task().cancel_pending()) [[likely]]
      return false;
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
  /// The error that it ends with in place of beginning, in a test in which operations fail. `name`: what makes it.
  AIO_COLD AIO_NEVER_INLINE error_code error_in_test(loop_core& on, char const* name) noexcept {
    auto* const failing = on.failures();
    return failing ? failing->fails(operation_failures::kind::asio, frame_, name) : error_code();
  }
  /// It ends a little later, without having begun: with its values, or with what fail() was given.
  void end_soon(loop_core& on);
  void end_soon(loop_core& on, error_code const& error) {
    fail(std::make_exception_ptr(system_error(error)));
    end_soon(on);
  }
  /// The same for an object of another context; starts it there.
  template <class Executor>
  void begin_remotely(loop_core& on, Executor const& executor);

  /// The start is over. What it left to cancel an operation that has completed goes.
  void started() noexcept {
    if (completed()) [[unlikely]]
      hook_.leave();
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

class io_base::not_started {
 public:
  explicit not_started(io_base& of) noexcept : of_(&of) {}
  not_started(not_started&& other) noexcept : of_(std::exchange(other.of_, nullptr)) {}
  not_started& operator=(not_started&&) = delete;
  ~not_started() {
    if (of_) of_->dropped();
  }
  void operator()() noexcept { std::exchange(of_, nullptr)->arrive_otherwise(); }

 private:
  io_base* of_;
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

AIO_COLD AIO_NEVER_INLINE void io_base::end_soon(loop_core& on) {
  begin(on);
  asio::post(on.context(), not_started(*this));
}

inline void io_base::fail(std::exception_ptr const& error) noexcept {
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
    if (!state_) [[unlikely]]
      return refuse_call();
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
    if (is_on(on.direct_context())) [[likely]] {
      if (base::cancelled_already()) [[unlikely]]
        return;
      base::begin(on);
    } else if (!begin_otherwise(on)) {
      return;
    }
    try {
#if defined(__GNUC__)  // Beast gives some of its initiations an int where they take a size
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wconversion"
#pragma GCC diagnostic ignored "-Wsign-conversion"
#endif
      std::apply(
          [&](auto&&... each) {
            std::move(initiation_)(io_handler<R...>(*this), std::forward<decltype(each)>(each)...);
          },
          std::move(arguments_));
#if defined(__GNUC__)
#pragma GCC diagnostic pop
#endif
      base::started();
    } catch (...) {
      base::start_failed(std::current_exception());
    }
  }

  AIO_ALWAYS_INLINE auto await_resume() {
    if (!this->completed()) [[unlikely]]
      base::end_otherwise();
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
      if (!on.own_context()) {
        base::begin_lent(on);
        return true;
      }
      if (fails_in_test(on)) return false;
      base::begin(on);
      return true;
    }
    if constexpr (names_context<Initiation>) base::begin_remotely(on, initiation_.get_executor());
    return false;
  }
  /// Whether it ends in an error in place of beginning; one whose values could not say so does not.
  AIO_COLD AIO_NEVER_INLINE bool fails_in_test(loop_core& on) {
    constexpr bool redirects = requires { initiation_.redirects_to(); };
    if constexpr (begins_with_status<R...> || (std::is_default_constructible_v<std::tuple<R...>> &&
                                               (begins_with_error_inside<R...> || redirects))) {
      error_code const error = base::error_in_test(on, std::source_location::current().function_name());
      if (!error) return false;
      if constexpr (begins_with_status<R...>) {
        base::end_soon(on, error);
      } else {
        auto& values = this->values_.emplace();
        if constexpr (redirects) {
          *initiation_.redirects_to() = error;
          base::note_error();
        } else {
          std::get<0>(std::get<0>(values)) = error;
        }
        base::end_soon(on);
      }
      return true;
    }
    return false;
  }
  /// There the same function does it: another place that starts operations is another copy of all of Asio's code for
  /// that.
  void start() noexcept override { await_suspend({}); }

  Initiation initiation_;
  Arguments arguments_;
};

}  // namespace aio::inline AIO_ABI::detail

#pragma GCC visibility pop

#include "aio/detail/keywords_back.hpp"
