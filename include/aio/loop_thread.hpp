// SPDX-License-Identifier: MIT
#pragma once

// A loop with a thread of its own: tasks for programs that are not made of them, and for several cores.
//
//   aio::loop_thread background;
//   std::string const text = background.call(fetch, "https://example.org");   // blocks this thread alone
//   auto later = background.start(fetch, "https://example.com");              // a std::future
//
//   co_await aio::run_on(background.loop(), fetch, url);                      // from a task of another loop

#include "aio/config.hpp"

#include <exception>
#include <future>
#include <memory>
#include <thread>
#include <tuple>
#include <type_traits>
#include <utility>

#if defined(__unix__) || defined(__APPLE__)
#include <unistd.h>
#endif

#include "aio/closure.hpp"
#include "aio/detail/loop_core.hpp"
#include "aio/detail/ready_queue.hpp"
#include "aio/detail/scheduler.hpp"
#include "aio/detail/sent_task.hpp"
#include "aio/detail/thread_pool.hpp"
#include "aio/error.hpp"
#include "aio/event_loop.hpp"
#include "aio/run.hpp"
#include "aio/task.hpp"
#include "aio/task_handle.hpp"
#include "aio/to_thread.hpp"
#pragma GCC visibility push(default)

namespace aio::inline AIO_ABI {

/// Runs a loop on a thread of its own, from its construction to its destruction.
///
/// Threads: any may use it, several at once. Tasks run on its thread alone.
/// asyncio: a Runner in a threading.Thread, with run_coroutine_threadsafe; LTH-1 to LTH-6.
class loop_thread {
 public:
  /// Starts the thread, and returns when its loop is there. Of the options, `signals` has no meaning here.
  /// Throws: what starting a thread and making a loop throw: system_error, std::bad_alloc. No thread is left then.
  explicit loop_thread(run_options options = {});
  loop_thread(loop_thread const&) = delete;
  loop_thread& operator=(loop_thread const&) = delete;

  /// Ends the loop as run() does: cancels the tasks that are left, waits for them and for threads of to_thread, and for
  /// the thread. Their futures have their answers then.
  ///
  /// On its own thread, or in a function that its loop has in a thread, it cannot wait: the loop then ends by itself,
  /// later. So a static one may be destroyed by std::exit() there, and in a child process, which has no such thread.
  ~loop_thread();

  /// To be used as the target of run_on(), async_run() and call_soon_threadsafe(). Lives as long as this.
  [[nodiscard]] event_loop& loop() const noexcept { return *state_->loop; }

  /// Runs `fn(args...)`, or a task, there, and returns its result. Blocks the calling thread, its loop included if it
  /// runs one: in a task write co_await run_on(thread.loop(), fn, args...).
  ///
  /// Throws: what the task throws, cancelled_error if the end of this cancels it; usage_error on its own thread, which
  /// would wait for itself, and after a fork in the child process.
  /// Lifetime: keeps copies of the function and its arguments until the task is done.
  template <class Fn, class... Args>
  decltype(auto) call(Fn&& fn, Args&&... args) {
    refuse_own_thread();
    return start(std::forward<Fn>(fn), std::forward<Args>(args)...).get();
  }

  /// The same without waiting: gives a std::future that can cancel the task, too. `fn` is called on the loop's thread.
  /// To wait for it on that thread would be to wait for ever.
  /// Throws: usage_error after a fork in the child process.
  template <class Fn, class... Args>
  [[nodiscard]] auto start(Fn&& fn, Args&&... args);

 private:
  struct state : private detail::ready_node {
    state() noexcept : ready_node(&on_end) {}
    void run(run_options options, std::promise<event_loop*> made);
    /// Threads: any. Once.
    void ask_to_end() noexcept {
      try {
        detail::loop_access::core(*loop).push_from_thread(*this);
      } catch (...) {  // no memory for the wake-up; it is in the inbox
      }
    }

    std::thread thread;
    event_loop* loop = nullptr;
    bool left_alone = false;  // nobody waits for it; before it is asked to end

   private:
    static void on_end(ready_node* node) noexcept {
      auto& self = *static_cast<state*>(node);
      self.ended_ = true;
      detail::loop_access::core(*self.loop).stop();
    }
    bool ended_ = false;  // of its thread
  };

  [[nodiscard]] bool on_own_thread() const noexcept { return state_->thread.get_id() == std::this_thread::get_id(); }
  void refuse_own_thread() const {
    if (on_own_thread()) {
      throw usage_error(
          "loop_thread: call() was called on the thread that it would wait for: write co_await f() there");
    }
  }

#if defined(__unix__) || defined(__APPLE__)
  [[nodiscard]] bool forked() const noexcept { return process_ != ::getpid(); }
  ::pid_t process_ = ::getpid();
#else
  [[nodiscard]] static bool forked() noexcept { return false; }
#endif
  // Of this object, unless it is destroyed where it cannot wait: another thread may be about to use it even then.
  state* state_;
};

// ---------------------------------------------------------------- implementation

inline loop_thread::loop_thread(run_options options) {
  auto made = std::make_unique<state>();
  std::promise<event_loop*> loop;
  std::future<event_loop*> there = loop.get_future();
  made->thread = std::thread(&state::run, made.get(), std::move(options), std::move(loop));
  try {
    made->loop = there.get();
  } catch (...) {
    made->thread.join();
    throw;
  }
  state_ = made.release();
}

inline void loop_thread::state::run(run_options options, std::promise<event_loop*> made) {
  {
    std::unique_ptr<runner> all;
    try {
      all = std::make_unique<runner>(std::move(options));
    } catch (...) {
      made.set_exception(std::current_exception());
      return;
    }
    event_loop& here = all->get_loop();
    made.set_value(&here);
    while (!ended_) here.run_forever();  // a task may call stop()
  }
  if (left_alone) delete this;
}

inline loop_thread::~loop_thread() {
  if (forked()) {
    // Kept where it is found by who looks for leaks.
    [[maybe_unused]] static state* volatile left = nullptr;
    left = state_;
    return;
  }
  if (on_own_thread() || detail::thread_pool::owner_here() == &detail::scheduler_of(loop())) {
    state_->left_alone = true;
    state_->thread.detach();
    state_->ask_to_end();
    return;
  }
  state_->ask_to_end();
  state_->thread.join();
  delete state_;
}

template <class Fn, class... Args>
auto loop_thread::start(Fn&& fn, Args&&... args) {
  if (forked()) throw usage_error("loop_thread: the thread was left behind by fork()");
  if constexpr (is_task<std::remove_cvref_t<Fn>>) {
    static_assert(!std::is_lvalue_reference_v<Fn> && sizeof...(Args) == 0,
                  "a task is given away: pass std::move(t), or the call itself, f(x); or the function and its "
                  "arguments, (f, x)");
    return run_coroutine_threadsafe(std::forward<Fn>(fn), loop());
  } else {
    using made = detail::made_type<detail::kept_type<Fn>, detail::kept_type<Args>...>;
    if constexpr (!std::is_void_v<made>) {
      return run_coroutine_threadsafe(
          detail::call_with<typename made::value_type, detail::kept_type<Fn>>(
              detail::unmoved(std::forward<Fn>(fn)),
              std::tuple<detail::kept_type<Args>...>(detail::unmoved(std::forward<Args>(args))...),
              std::index_sequence_for<Args...>()),
          loop());
    }
  }
}

}  // namespace aio::inline AIO_ABI

#pragma GCC visibility pop
