// SPDX-License-Identifier: MIT
#pragma once

// Functions that block or compute for long, without blocking the loop.
//
//   std::string text = co_await aio::to_thread(read_file, path);
//
//   int n = co_await aio::to_thread([](aio::stop_token stop, int limit) {
//     int i = 0;
//     while (i < limit && !stop.stop_requested()) ++i;   // cancelling the task stops it
//     return i;
//   }, 1'000'000);

#include "aio/config.hpp"
#include "aio/detail/keywords_off.hpp"  // before Asio

#include <atomic>
#include <chrono>
#include <coroutine>
#include <cstdint>
#include <exception>
#include <functional>
#include <future>
#include <memory>
#include <optional>
#include <thread>
#include <tuple>
#include <type_traits>
#include <utility>

#include "aio/detail/asio/post.hpp"

#include "aio/closure.hpp"
#include "aio/detail/context_values.hpp"
#include "aio/detail/frame_pool.hpp"
#include "aio/detail/future_core.hpp"
#include "aio/detail/leaf_waiter.hpp"
#include "aio/detail/sync.hpp"
#include "aio/detail/task_core.hpp"
#include "aio/detail/thread_pool.hpp"
#include "aio/detail/waitable.hpp"
#include "aio/event_loop.hpp"
#include "aio/result.hpp"
#include "aio/stop_token.hpp"
#pragma GCC visibility push(default)

namespace aio::inline AIO_ABI {

/// Makes to_thread() and run_in_executor() leave a function behind when they are cancelled.
struct abandon_on_cancel_t {
  explicit constexpr abandon_on_cancel_t() = default;
};
inline constexpr abandon_on_cancel_t abandon_on_cancel{};

/// Calls `fn(args...)` on another thread and gives what it returns. A function that takes a
/// stop_token (std::stop_token where there is one) first gets one that asks it to stop when the task is cancelled.
///
/// Suspends: always.
/// Resumes: on the loop's thread, in the iteration after the one that hears of the end (THR-7).
/// Cancelled: a function that no thread has begun never runs. One that runs is asked to stop and
/// waited for, because it may refer to what the caller owns (D2); then cancelled_error is
/// thrown, what it returned is dropped, and what it threw goes to the exception handler.
/// Throws: what `fn` throws.
/// Lifetime: keeps copies of the function and its arguments; std::ref passes a reference.
/// Context variables are what they are for the caller; what `fn` sets goes with it.
/// asyncio: to_thread, THR-1 to THR-8.
template <class Fn, class... Args>
[[nodiscard("co_await it: nothing runs before")]] auto to_thread(Fn&& fn, Args&&... args);

/// As asyncio does it: a cancellation is thrown at once, and a function that runs is asked to stop and left to
/// end by itself; its result is dropped. One that no thread has begun never runs. It must not refer to anything
/// that may go meanwhile. `run` waits for it at the end.
template <class Fn, class... Args>
[[nodiscard("co_await it: nothing runs before")]] auto to_thread(abandon_on_cancel_t, Fn&& fn,
                                                                 Args&&... args);

/// The same on any Asio executor, such as that of an asio::thread_pool. It begins when it is
/// awaited.
/// asyncio: run_in_executor.
template <class Executor, class Fn, class... Args>
[[nodiscard("co_await it: nothing runs before")]] auto run_in_executor(Executor const& executor,
                                                                       Fn&& fn, Args&&... args);

template <class T>
class concurrent_future;

/// Runs a task on a loop from another thread.
///
/// The future gets what the task returned or threw, cancelled_error included. Waiting for it on
/// the loop's own thread would wait for ever.
/// Throws: usage_error if the loop is closed. The future always gets an answer: of a task that could
/// not begin before the loop was closed it is a usage_error, too.
/// Threads: any but that of the loop.
/// Lifetime: the loop must outlive the task.
/// asyncio: run_coroutine_threadsafe, RCT-1 to RCT-6.
template <class T>
concurrent_future<T> run_coroutine_threadsafe(task<T>&& coroutine, event_loop& loop);

/// A std::future whose task can be cancelled, from any thread. Empty without one, as a std::future.
template <class T>
class [[nodiscard]] concurrent_future : public std::future<T> {
 public:
  concurrent_future() noexcept = default;

  /// Cancels the task on its loop; false if its result is there already.
  /// Throws: std::future_error (no_state) if it is empty. Threads: any. Requires: the loop is not gone.
  bool cancel();

 private:
  class request;
  struct link {
    explicit link(event_loop& of) noexcept : loop(of) {}
    event_loop& loop;
    task_handle<T> handle;  // of the loop's thread only
    std::atomic<bool> done{false};
    bool cancelled = false;  // before the task was made
  };
  template <class U>
  friend concurrent_future<U> run_coroutine_threadsafe(task<U>&& coroutine, event_loop& loop);
  concurrent_future(std::future<T> result, std::shared_ptr<link> shared)
      : std::future<T>(std::move(result)), link_(std::move(shared)) {}

  std::shared_ptr<link> link_;
};

// ---------------------------------------------------------------- implementation

namespace detail {

/// A function on its way through another thread: used by the awaiter of the task that waits, and
/// by the thread until it brought the result back.
class thread_job : public pool_job, private ready_node {
 public:
  explicit thread_job(loop_core& loop) noexcept : ready_node(&on_arrival), loop_(loop) {}
  virtual ~thread_job() = default;

  /// On the other thread, once.
  void run() noexcept override {
    if (phase_.begin()) {
      timed_ ? call_timed() : call();
      arrive();
    } else {
      release();  // withdrawn: the loop has forgotten it, and may be gone
    }
  }

  /// In place of run(), when the executor goes without running it.
  void drop() noexcept {
    if (phase_.begin()) {
      fail(std::make_exception_ptr(
          usage_error("the executor was destroyed before it could run the function")));
      arrive();
    } else {
      release();
    }
  }

  /// On the loop's thread: whether no thread has begun it, and none will.
  bool withdraw() noexcept {
    if (!phase_.withdraw()) return false;
    loop_.work_finished();
    if (observed_for_ != 0) tell_observer();
    return true;
  }

  [[nodiscard]] bool has_begun() const noexcept { return phase_.has_begun(); }
  /// When it began, if it has, and is timed.
  [[nodiscard]] time_point began() const noexcept {
    return time_point(time_point::duration(began_.load(std::memory_order_relaxed)));
  }

  void retain() noexcept { uses_.retain(); }
  void release() noexcept {
    if (uses_.release()) dispose();
  }

  /// Has the loop's observer told of it, before it is submitted; in debug mode it is timed, too. True: it is not to be
  /// submitted, for in a test it fails.
  AIO_COLD AIO_NEVER_INLINE bool watch(task_core& task, frame_base const& awaited_in) noexcept {
    timed_ = true;
    if (loop_.observer) {
      observed_for_ = task.number();
      loop_.observer->thread_begins(task);
    }
    std::exception_ptr error = loop_.failures() ? loop_.failures()->throws(&awaited_in) : nullptr;
    if (!error) return false;
    (void)phase_.begin();
    fail(std::move(error));
    arrive();
    return true;
  }

  leaf_waiter* waiter = nullptr;  // null when nobody waits any more; the loop's thread only
  stop_source stop{nostopstate};

 private:
  virtual void call() noexcept = 0;
  virtual void fail(std::exception_ptr error) noexcept = 0;
  virtual void dispose() noexcept = 0;

  // A static loop may be gone when the process ends meanwhile: its storage is there, and its inbox closed.
  AIO_NO_VPTR_CHECK void arrive() noexcept {
    if (!loop_.push_from_thread(*this)) release();  // a loop that is closed has forgotten it
  }
  static void on_arrival(ready_node* node) noexcept {
    auto& self = *static_cast<thread_job*>(node);
    self.loop_.work_finished();
    if (self.observed_for_ != 0) self.tell_observer();
    if (self.waiter && self.waiter->waiting()) self.waiter->wake();
    self.release();
  }

  AIO_COLD AIO_NEVER_INLINE void call_timed() noexcept {
    ran_on_ = std::this_thread::get_id();
    began_.store(std::chrono::steady_clock::now().time_since_epoch().count(), std::memory_order_relaxed);
    call();
    ended_ = std::chrono::steady_clock::now();
  }
  AIO_COLD AIO_NEVER_INLINE void tell_observer() noexcept {
    if (loop_.observer) loop_.observer->thread_ends(observed_for_, ran_on_, began(), ended_);
  }

  loop_core& loop_;
  job_phase phase_;
  use_count uses_;

  std::uint64_t observed_for_ = 0;  // the number of the task that waits; 0: no observer is to be told
  std::thread::id ran_on_;          // of no thread if it did not run
  bool timed_ = false;
  std::atomic<time_point::rep> began_{0};  // zero if it did not, or is not timed
  time_point ended_{};
};

template <class Fn, class... Args>
class thread_call final : public thread_job {
  static constexpr bool takes_stop = std::is_invocable_v<Fn, stop_token, Args...>;

  static auto invoke(Fn&& fn, std::tuple<Args...>&& args, stop_token const& stop)
      -> decltype(auto) {
    return std::apply(
        [&](auto&&... each) -> decltype(auto) {
          if constexpr (takes_stop) {
            return std::invoke(std::move(fn), stop, std::forward<decltype(each)>(each)...);
          } else {
            return std::invoke(std::move(fn), std::forward<decltype(each)>(each)...);
          }
        },
        std::move(args));
  }

 public:
  using value_type =
      decltype(invoke(std::declval<Fn>(), std::declval<std::tuple<Args...>>(), stop_token()));

  template <class F, class... A>
  explicit thread_call(loop_core& loop, F&& fn, A&&... args)
      : thread_job(loop),
        work_(std::in_place, std::forward<F>(fn), std::forward<A>(args)...),
        values_(read_context()) {
    if constexpr (takes_stop) stop = stop_source();
  }

  [[nodiscard]] std::optional<result<value_type>>& outcome() noexcept { return outcome_; }

 private:
  struct work {
    template <class F, class... A>
    explicit work(F&& f, A&&... a) : fn(std::forward<F>(f)), args(std::forward<A>(a)...) {}
    Fn fn;
    std::tuple<Args...> args;
  };

  void call() noexcept override {
    thread_values().swap(values_);
    try {
      if constexpr (std::is_void_v<value_type>) {
        invoke(std::move(work_->fn), std::move(work_->args), stop.get_token());
        outcome_.emplace(std::in_place);
      } else {
        outcome_.emplace(std::in_place,
                         invoke(std::move(work_->fn), std::move(work_->args), stop.get_token()));
      }
    } catch (...) {
      outcome_.emplace(std::current_exception());
    }
    // What the function captured goes on the thread that called it.
    work_.reset();
    thread_values().swap(values_);
  }

  void fail(std::exception_ptr error) noexcept override { outcome_.emplace(std::move(error)); }

  void dispose() noexcept override {
    pool_allocator<thread_call> memory;
    std::destroy_at(this);
    memory.deallocate(this, 1);
  }

  std::optional<work> work_;
  context_values values_;  // of context variables, for the function to see
  std::optional<result<value_type>> outcome_;
};

/// Submits a job with `Submit` when it is awaited, and waits for it.
template <class Submit, class Fn, class... Args>
class thread_awaiter final : public leaf_waiter {
  using job = thread_call<Fn, Args...>;

 public:
  template <class F, class... A>
  thread_awaiter(Submit submit, bool abandon, F&& fn, A&&... args)
      : submit_(std::move(submit)),
        abandon_(abandon),
        fn_(std::forward<F>(fn)),
        args_(std::forward<A>(args)...) {}
  thread_awaiter(thread_awaiter&&) = default;
  ~thread_awaiter() {
    if (!job_) return;
    job_->waiter = nullptr;
    job_->release();
  }

  bool await_ready() const noexcept { return false; }
  void await_suspend(std::coroutine_handle<>) {
    auto& on = static_cast<loop_core&>(loop());
    if (task().cancel_pending()) {  // cancelled before it began
      task().suspend_cancelled(*frame_);
      return;
    }
    pool_allocator<job> memory;
    job* const place = memory.allocate(1);
    try {
      job_ = std::apply(
          [&](auto&&... each) {
            return ::new (place) job(on, std::move(fn_), std::forward<decltype(each)>(each)...);
          },
          std::move(args_));
    } catch (...) {
      memory.deallocate(place, 1);
      throw;
    }
    job_->waiter = this;
    job_->retain();  // until it arrives
    on.work_started();
    frame_base const& before = task().innermost();
    suspend();
    if (on.watches_threads() && job_->watch(task(), *frame_)) [[unlikely]]
      return;
    try {
      submit_(on, *job_);
    } catch (...) {
      if (!job_->withdraw()) {  // the executor dropped the job, whose end is on its way
        not_submitted_ = std::current_exception();
        return;
      }
      if (!Submit::hands_out_tickets) job_->release();
      task().stop_waiting(before);
      throw;
    }
  }

  typename job::value_type await_resume() {
    if (task().cancel_delivered() || cancelled_) [[unlikely]]
      end_cancelled();
    if (not_submitted_ && !job_->outcome()->has_value()) [[unlikely]]
      std::rethrow_exception(not_submitted_);
    return std::move(*job_->outcome()).value();
  }

  [[nodiscard]] std::string describe_wait(task_core const&) const override {
    if (!job_ || !job_->has_begun()) return "a thread for a function";
    std::string text = "a function that runs in a thread";
    if (time_point const began = job_->began(); began != time_point()) {
      text += ", for " + detail::seconds_text(std::chrono::steady_clock::now() - began);
    }
    return text;
  }
  bool cancel_wait(task_core& task, cancel_message const& message) override {
    if (!waiting()) return false;
    if (withdraw()) return leaf_waiter::cancel_wait(task, message);
    job_->stop.request_stop();
    if (abandon_) return leaf_waiter::cancel_wait(task, message);
    // The function runs; its end wakes the task. The first message counts (CAN-10).
    if (!std::exchange(cancelled_, true)) message_ = message;
    return true;
  }

 private:
  bool withdraw() noexcept {
    if (!job_->withdraw()) return false;
    if (submit_.take_back(static_cast<loop_core&>(loop()), *job_)) job_->release();
    return true;
  }

  [[noreturn]] void end_cancelled() {
    if (woken() && job_->outcome() && !job_->outcome()->has_value()) {
      task().report("a function in a thread failed after its task was cancelled", job_->outcome()->error());
    }
    if (task().cancel_delivered()) task().throw_cancelled();
    throw cancelled_error(message_);
  }

  Submit submit_;
  bool abandon_;
  bool cancelled_ = false;
  cancel_message message_;
  Fn fn_;
  std::tuple<Args...> args_;
  job* job_ = nullptr;
  std::exception_ptr not_submitted_;  // what the executor threw
};

struct submit_to_default {
  static constexpr bool hands_out_tickets = false;
  void operator()(loop_core& loop, thread_job& job) const { loop.default_executor().submit(job); }
  /// Whether the job was still in line, and no thread will meet it.
  bool take_back(loop_core& loop, thread_job& job) const noexcept {
    return loop.default_executor().withdraw(job);
  }
};

template <class Executor>
struct submit_to_executor {
  static constexpr bool hands_out_tickets = true;
  /// The job's place in the executor; says so when it is destroyed without being run.
  class ticket {
   public:
    explicit ticket(thread_job& job) noexcept : job_(&job) {}
    ticket(ticket&& other) noexcept : job_(std::exchange(other.job_, nullptr)) {}
    ticket& operator=(ticket&&) = delete;
    ~ticket() {
      if (job_) job_->drop();
    }
    void operator()() noexcept { std::exchange(job_, nullptr)->run(); }

   private:
    thread_job* job_;
  };

  Executor executor;
  void operator()(loop_core&, thread_job& job) const { asio::post(executor, ticket(job)); }
  bool take_back(loop_core&, thread_job&) const noexcept { return false; }
};

template <class Fn, class... Args>
constexpr bool check_thread_function() {
  constexpr bool callable = std::is_invocable_v<std::decay_t<Fn>, std::decay_t<Args>...> ||
                            std::is_invocable_v<std::decay_t<Fn>, stop_token, std::decay_t<Args>...>;
  static_assert(callable,
                "to_thread takes a function and its arguments, which it copies: write "
                "to_thread(f, x), not to_thread(f(x)), and std::ref(x) for a reference");
  if constexpr (std::is_invocable_v<std::decay_t<Fn>, std::decay_t<Args>...>) {
    static_assert(!is_task<std::remove_cvref_t<
                      std::invoke_result_t<std::decay_t<Fn>, std::decay_t<Args>...>>>,
                  "a coroutine does not block: await it, or use create_task, in place of "
                  "to_thread");
  }
  return callable;
}

template <class Submit, class Fn, class... Args>
auto call_in_thread(Submit submit, bool abandon, Fn&& fn, Args&&... args) {
  if constexpr (detail::check_thread_function<Fn, Args...>()) {
    return thread_awaiter<Submit, std::decay_t<Fn>, std::decay_t<Args>...>(
        std::move(submit), abandon, std::forward<Fn>(fn), std::forward<Args>(args)...);
  }
}

}  // namespace detail

template <class Fn, class... Args>
auto to_thread(Fn&& fn, Args&&... args) {
  AIO_REFUSE_CLOSURES("to_thread", Fn&&);
  AIO_REFUSE_AGGREGATES("to_thread", Args&&);
  return detail::call_in_thread(detail::submit_to_default(), false, detail::unmoved(std::forward<Fn>(fn)),
                                detail::unmoved(std::forward<Args>(args))...);
}

template <class Fn, class... Args>
auto to_thread(abandon_on_cancel_t, Fn&& fn, Args&&... args) {
  AIO_REFUSE_CLOSURES("to_thread", Fn&&);
  AIO_REFUSE_AGGREGATES("to_thread", Args&&);
  return detail::call_in_thread(detail::submit_to_default(), true, detail::unmoved(std::forward<Fn>(fn)),
                                detail::unmoved(std::forward<Args>(args))...);
}

template <class Executor, class Fn, class... Args>
auto run_in_executor(Executor const& executor, Fn&& fn, Args&&... args) {
  AIO_REFUSE_CLOSURES("run_in_executor", Fn&&);
  AIO_REFUSE_AGGREGATES("run_in_executor", Args&&);
  return detail::call_in_thread(detail::submit_to_executor<Executor>{executor}, false,
                                detail::unmoved(std::forward<Fn>(fn)),
                                detail::unmoved(std::forward<Args>(args))...);
}

template <class T>
bool concurrent_future<T>::cancel() {
  if (!link_) throw std::future_error(std::future_errc::no_state);
  if (link_->done.load(std::memory_order_acquire)) return false;
  link_->loop.call_soon_threadsafe([shared = link_] {
    if (shared->handle.valid()) {
      shared->handle.cancel();
    } else {
      shared->cancelled = true;
    }
  });
  return true;
}

/// A task on its way to a loop, and its result on the way back. Stands in the loop's inbox, and then
/// among the callbacks of the task; the end of the loop runs it in both places, so that whoever waits
/// always hears.
template <class T>
class concurrent_future<T>::request final : private detail::ready_node {
 public:
  request(task<T>&& coroutine, std::shared_ptr<link> shared)
      : ready_node(&on_arrival), shared_(std::move(shared)), coroutine_(std::move(coroutine)) {}

  [[nodiscard]] std::future<T> get_future() { return answer_.get_future(); }

  /// Gives `made` to the loop. Throws: usage_error if that is closed; `coroutine` is as before.
  static void submit(std::unique_ptr<request> made, task<T>& coroutine) {
    if (detail::loop_access::core(made->shared_->loop).push_from_thread(*made)) {
      (void)made.release();
      return;
    }
    coroutine = std::move(made->coroutine_);
    throw usage_error("run_coroutine_threadsafe: the event loop is closed");
  }

 private:
  static void on_arrival(ready_node* node) noexcept {
    std::unique_ptr<request> self(static_cast<request*>(node));
    event_loop& loop = self->shared_->loop;
    detail::context_values*& values = detail::loop_access::core(loop).callback_values;
    // As a callback would: the task inherits what the thread had.
    auto* const outer = std::exchange(values, &self->values_);
    try {
      if (loop.is_closed()) {
        throw usage_error("run_coroutine_threadsafe: the event loop was closed before the task began");
      }
      self->shared_->handle = loop.create_task(std::move(self->coroutine_));
      self->become(&on_done);
      detail::handle_access::state(self->shared_->handle).add_callback(*self);
    } catch (...) {
      self->coroutine_.close();
      self->shared_->done.store(true, std::memory_order_release);
      self->not_begun_ = std::current_exception();
      self->answer_();
    }
    values = outer;
    if (!self->shared_->handle.valid()) return;
    link& shared = *self.release()->shared_;
    if (shared.cancelled) shared.handle.cancel();
  }

  static void on_done(ready_node* node) noexcept {
    std::unique_ptr<request> const self(static_cast<request*>(node));
    self->shared_->done.store(true, std::memory_order_release);
    self->ended_ = std::move(self->shared_->handle);
    self->answer_();
  }

  T answer() {
    if (not_begun_) std::rethrow_exception(not_begun_);
    auto& state = detail::handle_access::state(ended_);
    if (state.state() != detail::future_state::value) std::rethrow_exception(state.read_error());
    if constexpr (!std::is_void_v<T>) return static_cast<T&&>(state.value());
  }

  std::shared_ptr<link> shared_;
  // Not a promise, of which no second answer is to be had, on some systems, after the move of a value threw.
  std::packaged_task<T()> answer_{[this]() -> T { return answer(); }};
  detail::context_values values_ = detail::read_context();
  task<T> coroutine_;  // after what may throw
  std::exception_ptr not_begun_;
  task_handle<T> ended_;
};

template <class T>
concurrent_future<T> run_coroutine_threadsafe(task<T>&& coroutine, event_loop& loop) {
  using future = concurrent_future<T>;
  auto shared = std::make_shared<typename future::link>(loop);
  auto made = std::make_unique<typename future::request>(std::move(coroutine), shared);
  std::future<T> result = made->get_future();
  future::request::submit(std::move(made), coroutine);
  return future(std::move(result), std::move(shared));
}

}  // namespace aio::inline AIO_ABI

#pragma GCC visibility pop

#include "aio/detail/keywords_back.hpp"
