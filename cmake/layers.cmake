# SPDX-License-Identifier: MIT

# The headers of include/aio by layer, bottom first; a number opens a layer. A header includes config.hpp first, then
# only headers of lower layers, and each header stands in exactly one: tests/layers.cmake holds the tree to this list.
set(AIO_LAYERS
  0 config.hpp system_error.hpp detail/keywords_back.hpp detail/keywords_off.hpp
    detail/asio/any_io_executor.hpp detail/asio/associated_allocator.hpp detail/asio/associated_cancellation_slot.hpp
    detail/asio/associated_executor.hpp detail/asio/associator.hpp detail/asio/async_result.hpp
    detail/asio/awaitable.hpp detail/asio/basic_datagram_socket.hpp detail/asio/basic_socket_acceptor.hpp
    detail/asio/basic_stream_socket.hpp detail/asio/basic_waitable_timer.hpp detail/asio/buffer.hpp
    detail/asio/cancellation_signal.hpp detail/asio/co_spawn.hpp detail/asio/detail/io_uring_service.hpp
    detail/asio/detail/reactor.hpp detail/asio/detail/select_reactor.hpp detail/asio/dispatch.hpp
    detail/asio/error.hpp detail/asio/execution.hpp detail/asio/execution/context.hpp
    detail/asio/execution/executor.hpp detail/asio/execution_context.hpp detail/asio/executor_work_guard.hpp
    detail/asio/generic/datagram_protocol.hpp detail/asio/generic/stream_protocol.hpp detail/asio/io_context.hpp
    detail/asio/ip/address.hpp detail/asio/ip/tcp.hpp detail/asio/ip/v6_only.hpp detail/asio/macros.hpp
    detail/asio/posix/basic_stream_descriptor.hpp detail/asio/posix/descriptor_base.hpp detail/asio/post.hpp
    detail/asio/query.hpp detail/asio/redirect_error.hpp detail/asio/socket_base.hpp detail/asio/steady_timer.hpp
    detail/asio/this_coro.hpp
  1 closure.hpp error.hpp filesystem_error.hpp fwd.hpp stop_token.hpp stream_error.hpp tls_error.hpp detail/frame.hpp detail/frame_pool.hpp
    detail/intrusive_list.hpp detail/lighter_std.hpp detail/loop_executor.hpp detail/nested_drop.hpp
    detail/never_destroyed.hpp detail/on_demand.hpp detail/open_descriptors.hpp detail/owner.hpp detail/ready_queue.hpp
    detail/refused_memory.hpp detail/source_text.hpp detail/state_ptr.hpp detail/sync.hpp
    detail/system_calls.hpp detail/waitable.hpp testing/failure.hpp
  2 socket_address.hpp detail/cancel_hook.hpp detail/context_member.hpp detail/context_values.hpp
    detail/exceptions.hpp detail/inbox.hpp detail/loop_observer.hpp detail/read_watch.hpp detail/signal_table.hpp detail/spawn.hpp detail/stream_buffer.hpp
    detail/thread_pool.hpp detail/timer_heap.hpp testing/counted.hpp testing/failing_new.hpp
  3 exception_group.hpp result.hpp transport.hpp detail/completion.hpp detail/host_context.hpp detail/lookup_threads.hpp
    detail/scheduler.hpp
    detail/task_parts.hpp
  4 await_trace.hpp detail/callback.hpp detail/future_core.hpp detail/home_loop.hpp detail/repeated_call.hpp
    detail/scope_timer.hpp
  5 detail/task_core.hpp
  6 context_var.hpp sleep.hpp task_tree.hpp detail/cancel_walk.hpp detail/error_notes.hpp detail/handle_base.hpp
    detail/wait_choice.hpp
  7 future.hpp print_tasks.hpp detail/leaf_waiter.hpp detail/loop_core.hpp detail/task_state.hpp
  8 instrument.hpp semaphore.hpp detail/awaiting.hpp detail/io_operation.hpp detail/loop_descriptors.hpp detail/loop_shutdown.hpp
    detail/loop_signals.hpp detail/loop_watch.hpp detail/resolver.hpp detail/socket_transport.hpp detail/stream_state.hpp
    detail/wait_line.hpp
  9 event.hpp getaddrinfo.hpp lock.hpp task_statistics.hpp trace_writer.hpp observable.hpp shared_lock.hpp detail/open_socket.hpp detail/pipe_transport.hpp
    detail/process_state.hpp detail/promise.hpp detail/stream_operations.hpp
  10 queue.hpp stream.hpp task.hpp
  11 broadcast.hpp interval.hpp newest_queue.hpp on_exit.hpp pipe.hpp rendezvous.hpp task_handle.hpp detail/transport_upgrade.hpp
  12 as_result.hpp event_loop.hpp shield.hpp started.hpp task_set.hpp tls_context.hpp detail/children.hpp
    detail/server_state.hpp
  13 as_completed.hpp async_generator.hpp condition.hpp retry.hpp task_group.hpp timeout.hpp to_thread.hpp
    uncancellable.hpp use_awaitable.hpp wait.hpp wait_readable.hpp wait_signal.hpp detail/children_race.hpp
    detail/gather.hpp detail/hang_watch.hpp detail/interrupts.hpp detail/sent_task.hpp detail/stall_watch.hpp detail/tls_transport.hpp testing/all_blocked.hpp
    testing/memory_stream.hpp
  14 async_run.hpp awaitable.hpp barrier.hpp datagram.hpp file.hpp gather.hpp limiter.hpp process.hpp race.hpp run.hpp
    run_on.hpp server.hpp tls.hpp try_for.hpp detail/staggered_race.hpp
  15 at_most.hpp first_success.hpp loop_thread.hpp open_connection.hpp select.hpp sendfile.hpp
    testing/virtual_clock.hpp
  16 aio.hpp testing/cancel_everywhere.hpp testing/fail_everywhere.hpp
  17 testing/explore.hpp testing/fail_each_operation.hpp
)

set(AIO_HEADERS ${AIO_LAYERS})
list(FILTER AIO_HEADERS EXCLUDE REGEX "^[0-9]+$")
list(TRANSFORM AIO_HEADERS PREPEND include/aio/)

# Those that need OpenSSL belong to a target of their own, aio::tls.
set(AIO_TLS_HEADERS ${AIO_HEADERS})
list(FILTER AIO_TLS_HEADERS INCLUDE REGEX "/tls[._]")
list(REMOVE_ITEM AIO_HEADERS ${AIO_TLS_HEADERS})
