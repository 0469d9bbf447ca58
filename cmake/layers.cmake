# SPDX-License-Identifier: MIT

# The headers of include/aio by layer, bottom first; a number opens a layer. A header includes only headers of lower
# layers, and each header stands in exactly one: tests/layers.cmake holds the tree to this list.
set(AIO_LAYERS
  0 config.hpp error.hpp detail/keywords_back.hpp detail/keywords_off.hpp detail/lighter_std.hpp
  1 closure.hpp detail/context_values.hpp detail/exceptions.hpp detail/frame.hpp detail/frame_pool.hpp detail/intrusive_list.hpp
    detail/on_demand.hpp detail/ready_queue.hpp
  2 result.hpp exception_group.hpp detail/timer_heap.hpp
  3 detail/scheduler.hpp
  4 detail/callback.hpp detail/task_core.hpp detail/thread_pool.hpp detail/turns.hpp
  5 context_var.hpp task.hpp detail/handle_base.hpp detail/task_list.hpp detail/wait_line.hpp
  6 future.hpp task_handle.hpp
  7 as_result.hpp event.hpp gather.hpp lock.hpp print_tasks.hpp semaphore.hpp shield.hpp sleep.hpp
  8 async_generator.hpp condition.hpp queue.hpp race.hpp task_group.hpp timeout.hpp event_loop.hpp wait.hpp
  9 as_completed.hpp barrier.hpp detail/interrupts.hpp to_thread.hpp use_awaitable.hpp
  10 run.hpp
  11 aio.hpp testing/virtual_clock.hpp
)

set(AIO_HEADERS ${AIO_LAYERS})
list(FILTER AIO_HEADERS EXCLUDE REGEX "^[0-9]+$")
list(TRANSFORM AIO_HEADERS PREPEND include/aio/)
