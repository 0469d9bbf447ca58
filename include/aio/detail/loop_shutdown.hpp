// SPDX-License-Identifier: MIT
#pragma once

// How a loop ends: its tasks, its threads, what is in its queues.

#include "aio/config.hpp"

#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <exception>
#include <memory>
#include <new>
#include <thread>
#include <utility>
#include <vector>

#include "aio/detail/callback.hpp"
#include "aio/detail/frame_pool.hpp"
#include "aio/detail/future_core.hpp"
#include "aio/detail/loop_core.hpp"
#include "aio/detail/ready_queue.hpp"
#include "aio/detail/state_ptr.hpp"
#include "aio/detail/task_core.hpp"
#include "aio/detail/thread_pool.hpp"
#include "aio/detail/host_context.hpp"
#include "aio/detail/waitable.hpp"
#include "aio/error.hpp"
#pragma GCC visibility push(default)

namespace aio::inline AIO_ABI::detail {

// Waits for tasks as asyncio's shutdown does, which gathers the cancelled tasks: one callback each, and one more
// iteration before the loop stops (SCH-8, RUN-3).
struct loop_core::shutdown_round : stop_node {
  explicit shutdown_round(loop_core& owner) noexcept : stop_node(owner) { owner.ending_ = true; }
  ~shutdown_round() { loop.ending_ = false; }
  std::size_t left = 0;
};

// For one of the tasks.
struct loop_core::shutdown_listener : removable_node {
  shutdown_listener() noexcept
      : removable_node([](ready_node* node) noexcept {
          auto& self = *static_cast<shutdown_listener*>(node);
          self.ran = true;
          if (--self.round->left == 0) self.round->loop.push(*self.round);
        }) {}
  shutdown_listener(shutdown_listener const&) = delete;
  ~shutdown_listener() {
    if (task && !ran && !task->remove_callback(*this)) round->loop.forget(*this);
  }
  void wait_for(task_core& end_of, shutdown_round& on_behalf_of) noexcept {
    task = state_ptr<task_core>::share(end_of);
    round = &on_behalf_of;
    ++round->left;
    task->add_callback(*this);
  }
  void report() const noexcept {
    if (task->state() != future_state::error) return;
    task->report_error("a task failed while the loop was shutting down");
  }
  shutdown_round* round = nullptr;
  state_ptr<task_core> task;
  bool ran = false;
};

// Without memory for all at once, they are all cancelled, and waited for one after the other.
inline void loop_core::cancel_present_tasks(bool& one_by_one) {
  shutdown_round ending(*this);
  std::vector<shutdown_listener> many;
  shutdown_listener one;
  if (!one_by_one) {
    std::size_t present = 0;
    for (auto* core = tasks.front(); core; core = tasks.after(*core)) {
      core->cancel(nullptr);
      ++present;
    }
    try {
      many = std::vector<shutdown_listener>(present);
      auto* core = tasks.front();
      for (auto& each : many) each.wait_for(*std::exchange(core, tasks.after(*core)), ending);
    } catch (std::bad_alloc const&) {
      one_by_one = true;
    }
  }
  if (one_by_one) {
    auto& next = *tasks.front();
    if (next.cancelling() == 0) next.cancel(nullptr);  // it came later
    one.wait_for(next, ending);
  }
  while (!ending.ran) run_loop();  // a task may call stop()
  for (auto& each : many) each.report();
  if (one_by_one) one.report();
}

inline void loop_core::cancel_all_tasks() {
  bool one_by_one = false;
  while (!tasks.empty()) cancel_present_tasks(one_by_one);
}

// Runs the loop while functions are left in threads; says whether there were any.
inline bool loop_core::serve_threads() {
  stop_node no_job_left(*this);
  auto const tell = [](void* whom) {
    auto& told = *static_cast<stop_node*>(whom);
    told.loop.push_from_thread(told);
  };
  if (!threads_ || !threads_->tell_when_idle(tell, &no_job_left)) return false;
  work_started();
  serving_ = true;
  while (!no_job_left.ran) run_loop();  // a task may call stop()
  serving_ = false;
  work_finished();
  return true;
}

// Runs the loop while streams that were closed send what is left; says whether there were any. Each has its own limit.
inline bool loop_core::serve_lingering() {
  if (lingering_ == 0) return false;
  stop_node all_sent(*this);
  no_more_lingers_ = &all_sent;
  while (!all_sent.ran) run_loop();  // a task may call stop()
  return true;
}

// Tasks that only a thread could wake, where the loop runs for nothing but threads: that which is left
// may wait for them. They hear of it, and the thread hears from them. True if one goes on by that.
AIO_NEVER_INLINE bool loop_core::cancel_stranded_tasks() noexcept {
  if (tasks.empty() || has_deadline() || io_pending_ > 0) return false;
  cancel_message why;
  try {
    why = make_cancel_message("the event loop is shutting down");
  } catch (std::bad_alloc const&) {
  }
  for (auto* core = tasks.front(); core; core = tasks.after(*core)) core->cancel(why);
  return has_ready();
}

// The iterations that asyncio.run() takes to shut down, whatever is left then (RUN-9): callbacks of
// tasks that were done in the last step of main, and what follows from them.
inline void loop_core::run_briefly() {
  if (closed_ || is_running()) return;
  cancel_all_tasks();
  for (int left = 4; left > 0 && !idle(); --left) {
    stop();
    run_loop();
  }
}

inline void loop_core::discard_callbacks() noexcept {
  drop_waiting([](ready_queue& left) { callback::discard_all(left); }, &task_core::run_any);
}

inline void loop_core::drop_what_is_left() noexcept {
  do {
    take_inbox();
    discard_callbacks();
    // What is left are functions that came back from threads, requests from there, and shields.
    run_ready(&task_core::run_any);
  } while (!idle());
}

// What they own may ask for them again when it goes: they are not there any more.
AIO_COLD AIO_NEVER_INLINE void loop_core::drop_parts() noexcept {
  for (auto& each : parts_) each = nullptr;
}

// Called by exit(), which never returns into the step that called it.
AIO_COLD AIO_NEVER_INLINE void loop_core::leave_to_the_system() noexcept {
  std::thread::id const runner = host_ ? thread_.load(std::memory_order_relaxed) : runs_on();
  if (runner != std::thread::id() && runner != std::this_thread::get_id()) {
    // The loop's thread would go on with what is destroyed here: it is asked to stop for good. One that
    // is busy does not hear of it, and may be waiting for this one.
    struct halt final : ready_node {
      halt() noexcept
          : ready_node([](ready_node* node) noexcept {
              static_cast<halt*>(node)->done.store(true);
              for (;;) std::this_thread::sleep_for(std::chrono::hours(1));
            }) {}
      std::atomic<bool> done{false};
    };
    static halt* asked = nullptr;  // stays: the thread is in it
    asked = new (std::nothrow) halt;
    try {
      auto const until = std::chrono::steady_clock::now() + std::chrono::seconds(1);
      if (asked && push_from_thread(*asked)) {
        while (!asked->done.load() && std::chrono::steady_clock::now() < until) {
          std::this_thread::sleep_for(std::chrono::milliseconds(1));
        }
      }
    } catch (...) {  // no memory to ask it
    }
  }
  closed_ = true;
  address_->close();
  driver_ = driver::loop;  // nobody is asked to attend to what becomes ready
  if (host_) host_->detach();
  close_inbox();
  wait_for_wakers();  // they use what is taken away here
  // The caller may be inside these. Kept where they are found by who looks for leaks.
  struct kept {
    void* context;
    void* host;
    void* threads;
    std::array<void*, 3> parts;
  };
  static kept left{};
  left = {own_.release(), host_.release(), threads_.release(), {}};
  for (std::size_t n = 0; n < parts_.size(); ++n) left.parts[n] = parts_[n].release();
}

inline void loop_core::close() {
  if (closed_) return;
  if (is_running()) throw usage_error("a running event loop cannot be closed: call stop() first");
  do {
    cancel_all_tasks();
  } while (serve_threads() || serve_lingering());
  threads_.reset();
  set_observer(nullptr);
  closed_ = true;
  if (parts_[0] || parts_[1] || parts_[2]) drop_parts();
  address_->close();
  if (host_) host_->detach();
  close_inbox();
  wait_for_wakers();  // a loop of another class changes its vptr before it comes to end()
  drop_what_is_left();
  watch_errors(nullptr);
  guard_.reset();
  if (running()) {
    frame_pool::trim();
  } else {
    frame_pool::close();
  }
}

}  // namespace aio::inline AIO_ABI::detail

#pragma GCC visibility pop
