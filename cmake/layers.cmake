# SPDX-License-Identifier: MIT

# The headers of include/aio by layer, bottom first; a number opens a layer. A header includes only headers of lower
# layers, config.hpp first, and each header stands in exactly one: tests/layers.cmake holds the tree to this list.
set(AIO_LAYERS
  0 config.hpp detail/keywords_back.hpp detail/keywords_off.hpp
  1 closure.hpp error.hpp stop_token.hpp detail/frame.hpp detail/frame_pool.hpp detail/intrusive_list.hpp
    detail/lighter_std.hpp detail/loop_executor.hpp detail/nested_drop.hpp detail/never_destroyed.hpp
    detail/on_demand.hpp detail/ready_queue.hpp detail/state_ptr.hpp detail/waitable.hpp
  2 detail/cancel_hook.hpp detail/context_values.hpp detail/exceptions.hpp detail/thread_pool.hpp
    detail/timer_heap.hpp
  3 exception_group.hpp result.hpp detail/completion.hpp detail/host_context.hpp detail/scheduler.hpp
  4 detail/callback.hpp detail/future_core.hpp
  5 detail/task_core.hpp
  6 context_var.hpp sleep.hpp detail/cancel_walk.hpp detail/handle_base.hpp detail/task_list.hpp
  7 future.hpp print_tasks.hpp detail/leaf_waiter.hpp detail/loop_core.hpp detail/task_state.hpp
  8 semaphore.hpp detail/awaiting.hpp detail/io_operation.hpp detail/loop_shutdown.hpp detail/wait_line.hpp
  9 event.hpp lock.hpp detail/promise.hpp
  10 queue.hpp task.hpp
  11 task_handle.hpp
  12 as_result.hpp event_loop.hpp shield.hpp detail/children.hpp
  13 as_completed.hpp async_generator.hpp condition.hpp task_group.hpp timeout.hpp to_thread.hpp use_awaitable.hpp
    wait.hpp detail/children_race.hpp detail/gather.hpp detail/interrupts.hpp
    detail/sent_task.hpp
  14 async_run.hpp awaitable.hpp barrier.hpp gather.hpp run.hpp run_on.hpp
  15 loop_thread.hpp race.hpp testing/virtual_clock.hpp
  16 aio.hpp
)

set(AIO_HEADERS ${AIO_LAYERS})
list(FILTER AIO_HEADERS EXCLUDE REGEX "^[0-9]+$")
list(TRANSFORM AIO_HEADERS PREPEND include/aio/)
