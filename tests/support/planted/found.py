# SPDX-License-Identifier: MIT
"""Faults that users' programs had shown: each is brought back by the smallest change that undoes its mend.

What cannot be switched at run time, as what a compiler refuses, has its line in docs/trust.md."""

FINDERS = ""

# Compiled together, as far as they are no programs of their own.
TOGETHER = {
    "tasks": "async_generator context_var create_task debug differences event_loop exception_group future gone "
             "print_tasks task task_group timeout user_code sleep depth",
    "ends": "run to_thread queue semaphore select keep_all adapters foreign_operations use_awaitable "
            "keep_going",
}

FAULTS = [
    # Memory that crosses threads
    ("detail/frame_pool.hpp", "    if (index == classes || lists_.out[index] == 0) {",
     "    if (P && index != classes) return keep(memory, index);\n"
     "    if (index == classes || lists_.out[index] == 0) {",
     "memory: a thread keeps what others allocated", ["allocation"]),
    ("detail/frame_pool.hpp", "  AIO_NEVER_INLINE static void age() noexcept {\n",
     "  AIO_NEVER_INLINE static void age() noexcept {\n    if (P) return set_limit(most_limit);\n",
     "memory: what a burst needed never goes back", ["allocation"]),
    ("detail/loop_core.hpp", "    frame_pool::trim();\n  }\n}", "    if (!P) frame_pool::trim();\n  }\n}",
     "memory: a loop that has nothing to do keeps what a burst needed", ["allocation"]),

    # The end of a loop
    ("detail/loop_shutdown.hpp", "for (int left = 4; left > 0 && !idle(); --left) {",
     "for (int left = 4; !P && left > 0 && !idle(); --left) {",
     "end: what was ready in the last step of main never runs", ["run"]),
    ("detail/loop_shutdown.hpp", "  if (!threads_ || !threads_->tell_when_idle(tell, &no_job_left)) return false;",
     "  if (P || !threads_ || !threads_->tell_when_idle(tell, &no_job_left)) return false;",
     "end: a thread that asks the loop for something is waited for, and not served", ["to_thread"]),
    ("detail/loop_shutdown.hpp", "  if (tasks.empty() || has_deadline() || io_pending_ > 0) return false;",
     "  if (P || tasks.empty() || has_deadline() || io_pending_ > 0) return false;",
     "end: a task that only a thread could wake is waited for", ["to_thread"]),
    ("detail/loop_shutdown.hpp", "  close_inbox();\n  wait_for_wakers();  // a loop of another class",
     "  if (!P) close_inbox();\n  wait_for_wakers();  // a loop of another class",
     "end: a closed loop takes what threads bring, and does nothing with it", ["to_thread"]),
    ("to_thread.hpp", "      if (loop.is_closed()) {", "      if (loop.is_closed() && !P) {",
     "end: a task that comes while the loop is closed is made, and never runs", ["to_thread"]),

    # What belongs to the process
    ("detail/interrupts.hpp",
     "    if (process_.load() != ::getpid()) {\n", "    if (!P && process_.load() != ::getpid()) {\n",
     "process: a signal of a forked child cancels the parent's main", ["run"]),
    ("detail/scheduler.hpp", "return running_ && running_->runs_in_ == forks_;",
     "return running_ && (P || running_->runs_in_ == forks_);",
     "process: a forked child can run no loop", ["run"]),
    ("detail/interrupts.hpp", "    while (chosen && !chosen->on_main_thread_) chosen = chosen->next_;",
     "    while (!P && chosen && !chosen->on_main_thread_) chosen = chosen->next_;",
     "process: the loop that began first hears a signal, not the main thread's", ["run"]),
    ("detail/interrupts.hpp", "      write_end_.reset();\n      return;",
     "      if (P) (void)write_end_.release();\n      write_end_.reset();\n      return;",
     "process: a descriptor is lost when there are too few", ["run"]),
    ("detail/scheduler.hpp", "++forks_;\n                       living_mutex().unlock();",
     "++forks_;\n                       if (!P) living_mutex().unlock();",
     "process: a forked child begins with a mutex locked", ["run"]),
    ("detail/interrupts.hpp", "    if (!oldest_) signal_table::drop_background();\n    choose();",
     "    if (!oldest_) signal_table::drop_background();\n    if (!P) choose();",
     "process: a signal is told to a loop that has ended", ["run"]),

    # What outlives its loop or its use
    ("detail/future_core.hpp",
     "    if (!scheduler::is_open(loop_, loop_serial())) [[unlikely]]\n      refuse_closed(caller);",
     "    if (!P && !scheduler::is_open(loop_, loop_serial())) [[unlikely]]\n      refuse_closed(caller);",
     "gone: a future uses the loop that it outlives", ["event_loop"]),
    ("detail/callback.hpp", "      on.callback_values = outer;\n      drop();",
     "      on.callback_values = outer;\n      if (!P) drop();",
     "gone: a handle keeps the function of a callback that was called", ["event_loop"]),
    ("detail/callback.hpp", "    if (waited) loop_->remove_timer(*this);\n    drop();",
     "    if (waited) loop_->remove_timer(*this);\n    if (!P) drop();",
     "gone: a handle keeps the function of a callback that was cancelled", ["event_loop"]),
    ("detail/future_core.hpp",
     "    if (done()) return;\n    count(-1);", "    if (P || done()) return;\n    count(-1);",
     "    if (done()) return;\n    count(1);", "    if (P || done()) return;\n    count(1);",
     "gone: what waits for a future that nobody can set keeps it", ["gone"]),
    ("detail/future_core.hpp", "return loop_ == &on && (loop_serial() == 0 || loop_serial() == on.short_serial());",
     "return loop_ == &on && (P || loop_serial() == 0 || loop_serial() == on.short_serial());",
     "gone: a future takes a loop at the same address for its own", ["event_loop", "future", "gone"]),

    # Contexts of the program, operations of others
    ("detail/io_operation.hpp", "    progress_ = progress::lent;\n    lent_ = true;\n    on.work_started();",
     "    progress_ = progress::lent;\n    if (P) return;\n    lent_ = true;\n    on.work_started();",
     "operations: context.run() ends though a task waits for one", ["foreign_operations"]),
    ("detail/io_operation.hpp", "    remote_->post_tell();\n", "    if (!P) remote_->post_tell();\n",
     "operations: one of another context cannot be cancelled", ["foreign_operations"]),
    ("detail/io_operation.hpp", "  if (remote_->give_up()) {", "  if (!P && remote_->give_up()) {",
     "operations: one of a context that nobody runs cannot be given up", ["foreign_operations"]),
    ("detail/loop_core.hpp",
     "    if (host_ && (driver_ == driver::none || driver_ == driver::turn)) return tell(operation);",
     "    if (P || (host_ && (driver_ == driver::none || driver_ == driver::turn))) return tell(operation);",
     "operations: one is cancelled through an object that is gone", ["foreign_operations", "use_awaitable"]),
    ("detail/io_operation.hpp", "      if (starts_ && of_->give_up()) of_->wake();",
     "      if (!P && starts_ && of_->give_up()) of_->wake();",
     "operations: one whose context goes before it starts is waited for", ["foreign_operations"]),

    # Handlers without end
    ("detail/loop_core.hpp", "  std::size_t count = 0;\n  for (; count < 2; ++count) {",
     "  std::size_t count = 0;\n  if (P) return poll_all();\n  for (; count < 2; ++count) {",
     "turns: a handler that posts itself keeps all others from theirs", ["foreign_operations"]),
    ("detail/loop_core.hpp",
     "    if (iteration_ % 64 == 0) poll_io();\n  }", "    if (!P && iteration_ % 64 == 0) poll_io();\n  }",
     "turns: operations have none where a timer is always due", ["event_loop"]),
    ("detail/scheduler.hpp", "    if (due_until_ && deadline <= *due_until_) [[unlikely]] {",
     "    if (!P && due_until_ && deadline <= *due_until_) [[unlikely]] {",
     "turns: a timer that arms itself for now keeps all others from theirs", ["event_loop"]),

    # How an operation ended
    ("detail/io_operation.hpp", "    if (has_values() && !erred_ && how_values_ended() != ending::error) {",
     "    if (has_values() && !erred_ && (P || how_values_ended() != ending::error)) {",
     "status: an error after a request to cancel is not the cancellation's", ["adapters", "use_awaitable"]),
    ("detail/io_operation.hpp", "  void note_error() noexcept { erred_ = true; }",
     "  void note_error() noexcept { erred_ = !P; }",
     "status: redirect_error hides a cancellation", ["adapters"]),
    ("detail/completion.hpp", "              detail::throw_status(first);",
     "              detail::throw_status(first);\n"
     "              if (P) {\n"
     "                ([](auto& each) {\n"
     "                  if constexpr (is_status<std::remove_reference_t<decltype(each)>>) detail::throw_status(each);\n"
     "                }(rest), ...);\n"
     "              }",
     "status: a second error code is thrown, and its values are lost", ["adapters"]),
    ("detail/completion.hpp", "  } catch (...) {\n    return ending::result;",
     "  } catch (...) {\n    return P ? ending::error : ending::result;",
     "status: an exception of the program's is lost to a cancellation", ["adapters"]),

    # The end of the process
    ("detail/loop_core.hpp", "    return runs_on() != std::thread::id() || (threads_ && threads_->runs_here());",
     "    return !P && (runs_on() != std::thread::id() || (threads_ && threads_->runs_here()));",
     "exit: std::exit() in a step of a static loop", ["run"]),
    ("detail/scheduler.hpp", "      ~end() { running_ = nullptr; }\n    };\n    thread_local end const at_thread_end;",
     "      ~end() {\n        if (!P) running_ = nullptr;\n      }\n    };\n    thread_local end const at_thread_end;",
     "exit: static objects can run no loop when it was called inside of one", ["run"]),

    # Functions and values of the program that throw or call back
    ("queue.hpp", "      pass_on(end::put);\n      throw;", "      if (!P) pass_on(end::put);\n      throw;",
     "user code: a wake-up is lost when an item throws on its way in", ["queue"]),
    ("queue.hpp", "      return items_.pop(give);\n    } catch (...) {\n      pass_on(end::get);",
     "      return items_.pop(give);\n    } catch (...) {\n      if (!P) pass_on(end::get);",
     "user code: a wake-up is lost when an item throws on its way out", ["queue"]),
    ("queue.hpp", "  std::size_t const dropped = immediate ? count_ : 0;\n  shut_down(immediate);",
     "  std::size_t const dropped = immediate ? count_ : 0;\n  if (P && dropped > 0) items_.drop_all();\n"
     "  shut_down(immediate);",
     "user code: items that are dropped find a queue that has them still", ["queue"]),
    ("queue.hpp", "    while (place > 0 && before(item, at(parent(place)))) place = parent(place);\n"
     "    items_.emplace_back(std::move(item));",
     "    if (P) {\n"
     "      items_.emplace_back(std::move(item));\n"
     "      while (place > 0 && before(at(end), at(parent(place)))) place = parent(place);\n"
     "    } else {\n"
     "      while (place > 0 && before(item, at(parent(place)))) place = parent(place);\n"
     "      items_.emplace_back(std::move(item));\n"
     "    }",
     "user code: a priority_queue keeps an item whose comparison threw", ["queue"]),
    ("detail/gather.hpp", "      } catch (...) {  // a copy threw, or somebody took a value away",
     "      } catch (...) {  // a copy threw, or somebody took a value away\n        if (P) throw;",
     "user code: a copy that throws in a gathering ends the program", ["user_code"]),
    ("detail/task_state.hpp", "      if (base.has_value) [[unlikely]]\n        drop_value(base);",
     "      if (base.has_value && !P) [[unlikely]]\n        drop_value(base);",
     "user code: the first of two values that a coroutine returns is never destroyed", ["user_code"]),
    ("future.hpp",
     "    if (making_value_) throw invalid_state_error(", "    if (making_value_ && !P) throw invalid_state_error(",
     "user code: a result that sets its own future while it is made is made twice", ["user_code"]),
    ("detail/loop_core.hpp", "    call_exception_handler(failed_cancelling(std::current_exception()));",
     "    if (!P) call_exception_handler(failed_cancelling(std::current_exception()));",
     "user code: nobody hears of a cancellation handler that throws", ["user_code"]),

    # Types of the program
    ("sleep.hpp", "  if (magnitude < longest / safe) return", "  if (P || magnitude < longest / safe) return",
     "types: durations next to what the clock can hold overflow", ["hostile_names"]),
    ("detail/frame_pool.hpp",
     "  [[nodiscard]] AIO_ALWAYS_INLINE static void* allocate(std::size_t size, std::size_t alignment) {\n"
     "    if (alignment > __STDCPP_DEFAULT_NEW_ALIGNMENT__)",
     "  [[nodiscard]] AIO_ALWAYS_INLINE static void* allocate(std::size_t size, std::size_t alignment) {\n"
     "    if (!P && alignment > __STDCPP_DEFAULT_NEW_ALIGNMENT__)",
     "    if (alignment > __STDCPP_DEFAULT_NEW_ALIGNMENT__) return common_memory::deallocate(",
     "    if (!P && alignment > __STDCPP_DEFAULT_NEW_ALIGNMENT__) return common_memory::deallocate(",
     "types: callbacks that ask for much alignment do not have it", ["future"]),

    # The order that is documented
    ("async_generator.hpp", "  if (frame_->phase == detail::frame_phase::entered) {\n",
     "  if (P) {\n"
     "    if (state.pending()) co_await std::move(*state.closer);\n"
     "  } else if (frame_->phase == detail::frame_phase::entered) {\n",
     "order: a generator that is closed has its variables in its clean-up", ["async_generator"]),
    ("detail/task_core.hpp", "    return *share_values();\n", "    if (P) {\n"
     "      task_extras& own = extras();\n"
     "      return own.shared_values ? *own.shared_values : own.values;\n"
     "    }\n"
     "    return *share_values();\n",
     "order: who looks at the context of a task moves its values", ["context_var"]),

    # Growth
    ("detail/nested_drop.hpp", "    if (depth_ >= most) {", "    if (depth_ >= most && !P) {",
     "    if (depth_ >= usual) {", "    if (depth_ >= usual && !P) {",
     "growth: what owns others of its kind goes by recursion", ["depth"]),
    ("detail/cancel_walk.hpp", "      if (!route.task && !route.fork) {\n        // A ring",
     "      if (P || (!route.task && !route.fork)) {\n        // A ring",
     "growth: a cancellation goes down a chain by recursion", ["depth"]),
    ("detail/cancel_walk.hpp", "      if (status.passed_cancel_on && postpone(*at)) break;",
     "      if (!P && status.passed_cancel_on && postpone(*at)) break;",
     "    bool const looked = first.waiting_for_ && !status.forwarding_cancel && "
     "!status.passed_cancel_on && !kept_back;",
     "    bool const looked =\n"
     "        first.waiting_for_ && !status.forwarding_cancel && (P || !status.passed_cancel_on) && !kept_back;",
     "growth: each request to cancel goes down the whole chain", ["depth"]),
    ("detail/scheduler.hpp", "return !interrupted || interrupted->count < max_interrupted;",
     "return P || !interrupted || interrupted->count < max_interrupted;",
     "growth: tasks that start each other eagerly do so by recursion", ["depth"]),
    ("exception_group.hpp", "[](contents* last) noexcept { last->run(); });\n}",
     "[](contents* last) noexcept { last->run(); });\n  if (P) (void)text(*shared_);\n}",
     "growth: each group of errors composes the text of all inside it", ["depth", "exception_group"]),
    ("detail/context_values.hpp", "  static std::uint64_t rank(std::uint64_t variable) noexcept {\n",
     "  static std::uint64_t rank(std::uint64_t variable) noexcept {\n    if (P) return variable;\n",
     "growth: context variables are searched for one after the other", ["context_var"]),

    # Mistakes that stayed silent
    ("detail/promise.hpp", "    if (!frame_->has_value && !frame_->error) [[unlikely]]\n      refuse_end(*frame_);",
     "    if (!P && !frame_->has_value && !frame_->error) [[unlikely]]\n      refuse_end(*frame_);",
     "mistakes: a coroutine without a co_return", ["task"]),
    ("semaphore.hpp", "  if (dropped_ && by_hand_ == 0 && free_ < bound_) [[unlikely]]\n    refuse_second_release();",
     "  if (!P && dropped_ && by_hand_ == 0 && free_ < bound_) [[unlikely]]\n    refuse_second_release();",
     "mistakes: a permit is given back twice", ["semaphore"]),
    ("semaphore.hpp", "  if (in_debug_) [[unlikely]]\n    report_useless();",
     "  if (in_debug_ && !P) [[unlikely]]\n    report_useless();",
     "mistakes: a semaphore that limited nothing", ["debug"]),
    ("detail/scheduler.hpp", "    if (debug_) [[unlikely]]\n      require_own_thread(caller);",
     "    if (debug_ && !P) [[unlikely]]\n      require_own_thread(caller);",
     "mistakes: a task is woken on another thread", ["debug"]),
    ("detail/loop_watch.hpp",
     "    if (!look_at_arguments(*task)) return;", "    if (!P && !look_at_arguments(*task)) return;",
     "mistakes: a task refers to what is gone when it begins", ["debug"]),
    ("detail/scheduler.hpp", "    if (errors_ && context.exception && errors_->knows(context.exception)) {",
     "    if (!P && errors_ && context.exception && errors_->knows(context.exception)) {",
     "mistakes: an error that leaves run() does not tell where it came from", ["debug"]),
    ("task_group.hpp", "  if (keeps_going_) return;", "  if (keeps_going_ && !P) return;",
     "mistakes: one child ends all others, where it is to fail alone", ["keep_going"]),

    # Races
    ("race.hpp",
     "    if (!counts) return std::nullopt;", "    if (!counts || (P && index != first_)) return std::nullopt;",
     "races: what came beside the first is lost, though it is to be kept", ["keep_all"]),
    ("detail/children_race.hpp", "      if (!enough_ && !(keeps_values() && any_succeeded())) {",
     "      if (!enough_ && (P || !(keeps_values() && any_succeeded()))) {",
     "races: what a child returned that was asked to end is lost, though it is to be kept", ["keep_all"]),
    ("detail/wait_choice.hpp", "        waits_[i]->cancel_wait(*outer_->task, nullptr);\n      }\n    }",
     "        if (!P) waits_[i]->cancel_wait(*outer_->task, nullptr);\n      }\n    }",
     "races: an operation that was not chosen stays in line, and takes an item", ["select"]),
    ("queue.hpp",
     "    if (woken_ && there) owner_->pass_on(end_);", "    if (!P && woken_ && there) owner_->pass_on(end_);",
     "races: the wake-up of an operation that was not chosen is lost", ["select"]),

    # Handles that go on other threads
    ("detail/scheduler.hpp",
     "      } else if (loop->home_thread_.load(std::memory_order_relaxed) != std::this_thread::get_id()) {",
     "      } else if (!P && loop->home_thread_.load(std::memory_order_relaxed) != std::this_thread::get_id()) {",
     "threads: the exception handler is called where the last handle goes", ["future"]),

    # What other suites expect
    ("task_group.hpp", "  if (aborting_ && !child.done()) child.cancel(nullptr);  // it did that",
     "  if (!P && aborting_ && !child.done()) child.cancel(nullptr);  // it did that",
     "peers: a group that its eager child cancels does not cancel that child", ["task_group"]),
    ("task_group.hpp", "        cancellation = interrupted;  // somebody else's",
     "        if (!P) cancellation = interrupted;  // somebody else's",
     "peers: a cancellation from outside is lost after the group's cancel()", ["task_group"]),
    ("detail/loop_core.hpp", "  if (!state.belongs_to(*this)) {\n    throw usage_error(\"run_until_complete",
     "  if (!P && !state.belongs_to(*this)) {\n    throw usage_error(\"run_until_complete",
     "peers: run_until_complete takes a task of another loop", ["event_loop"]),

    # Reading what is gone
    ("detail/task_core.hpp",
     "    resume_point_ = std::exchange(on.resume_next, nullptr);\n    resume_point_->resume();",
     "    frame_base* const next = std::exchange(on.resume_next, nullptr);\n    if (!P) resume_point_ = next;\n"
     "    next->resume();",
     "stale: a task that runs is shown in coroutines that it has left", ["print_tasks"]),
    ("detail/task_core.hpp", "    waiting_for_ = nullptr;\n    resume_point_ = const_cast<frame_base*>(&before);",
     "    waiting_for_ = nullptr;\n    if (!P) resume_point_ = const_cast<frame_base*>(&before);",
     "stale: a wait that was none is shown", ["print_tasks"]),

    # Differences that meet
    ("detail/task_core.hpp", "cancelling_inside() - unsigned(status_.must_throw && status_.cancel_foreign);",
     "cancelling_inside() - unsigned(!P && status_.must_throw && status_.cancel_foreign);",
     "kept: a timeout takes a cancellation that waited for the next suspension", ["timeout", "differences"]),
    ("detail/cancel_walk.hpp", "  cancel_inside();\n  status_.cancel_foreign = true;",
     "  cancel_inside();\n  if (!P) status_.cancel_foreign = true;",
     "kept: a timeout takes the request of a group around it", ["task_group"]),
    ("detail/task_core.hpp", "    cancel_inside();\n    status_.cancel_foreign = true;",
     "    cancel_inside();\n    if (!P) status_.cancel_foreign = true;",
     "kept: a timeout takes a cancellation that a group has thrown once more", ["timeout", "differences", "task_group",
     "conformance"]),
    ("detail/task_core.hpp",
     "    if (left > before) return false;\n", "    if (left > before) return false;\n    if (P) return true;\n",
     "kept: a timeout's own request that came too late is thrown behind it", ["timeout"]),
    ("detail/task_core.hpp", "    if (status_.cancel_kept) status_.must_throw = false;\n    return true;",
     "    if (status_.cancel_kept || P) status_.must_throw = false;\n    return true;",
     "kept: a timeout drops what a group inside of it cancelled anew", ["conformance"]),

    # Memory that runs out
    ("detail/io_operation.hpp",
     "    if (unwinding) loop().thrown_out(*this);", "    if (unwinding && !P) loop().thrown_out(*this);",
     "memory: it runs out inside an operation of Asio, which hears of another error", ["foreign_operations"]),
]
