# SPDX-License-Identifier: MIT

# The headers of include/aio by layer, bottom first; a number opens a layer. A header includes only headers of lower
# layers, config.hpp first, and each header stands in exactly one: tests/layers.cmake holds the tree to this list.
set(AIO_LAYERS
  0 config.hpp detail/keywords_back.hpp detail/keywords_off.hpp
  1 error.hpp stop_token.hpp detail/lighter_std.hpp detail/nested_drop.hpp detail/never_destroyed.hpp
  2 closure.hpp detail/context_values.hpp detail/exceptions.hpp detail/frame.hpp detail/frame_pool.hpp detail/intrusive_list.hpp
    detail/loop_executor.hpp detail/on_demand.hpp detail/ready_queue.hpp
  3 result.hpp exception_group.hpp detail/timer_heap.hpp
  4 detail/scheduler.hpp
  5 detail/callback.hpp detail/task_core.hpp detail/thread_pool.hpp detail/turns.hpp
  6 context_var.hpp task.hpp detail/handle_base.hpp detail/loop_core.hpp detail/task_list.hpp detail/wait_line.hpp
  7 future.hpp task_handle.hpp
  8 as_result.hpp event.hpp gather.hpp lock.hpp print_tasks.hpp semaphore.hpp shield.hpp sleep.hpp
  9 async_generator.hpp condition.hpp queue.hpp race.hpp task_group.hpp timeout.hpp event_loop.hpp wait.hpp
  10 as_completed.hpp barrier.hpp detail/interrupts.hpp to_thread.hpp use_awaitable.hpp
  11 run.hpp
  12 aio.hpp testing/virtual_clock.hpp
)

set(AIO_HEADERS ${AIO_LAYERS})
list(FILTER AIO_HEADERS EXCLUDE REGEX "^[0-9]+$")
list(TRANSFORM AIO_HEADERS PREPEND include/aio/)
