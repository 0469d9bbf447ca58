// SPDX-License-Identifier: MIT
#pragma once

// The names of aio's types, for headers that only mention them: it includes nothing of the standard library's but
// <cassert>, and nothing of Asio. A source file that calls such functions, or defines them, includes what it uses.
//
//   #include <aio/fwd.hpp>
//
//   aio::task<int> count_words(std::string path);
//   aio::task<> serve(aio::server& from, aio::semaphore& slots);

#include "aio/config.hpp"
#pragma GCC visibility push(default)

namespace aio::inline AIO_ABI {

// What runs, and where. The default arguments of all these templates stand here.
template <class T = void>
class task;
template <class T = void>
class task_handle;
template <class T = void>
class future;
template <class T = void>
class started;
template <class T = void>
class task_set;
template <class T>
class async_generator;
template <class T>
class result;
class event_loop;
class loop_thread;
class run_options;
class runner;
class task_group;
class task_options;

// Errors
class broken_barrier_error;
class cancelled_error;
class connect_error;
class exception_group;
class incomplete_read_error;
class interrupted;
class invalid_state_error;
class limit_overrun_error;
class queue_empty;
class queue_full;
class queue_shut_down;
class timeout_error;
class usage_error;
struct exception_context;

// What tasks wait for
class barrier;
class bounded_semaphore;
class condition;
class event;
class interval;
class limiter;
class lock;
class semaphore;
class shared_lock;
template <class T>
class broadcast;
template <class T>
class context_var;
template <class T>
class newest_queue;
template <class T>
class observable;
template <class T>
class rendezvous;
namespace detail {
template <class T>
class fifo_items;
template <class T, class Items>
class basic_queue;
}  // namespace detail
/// First in, first out. asyncio: Queue, Q-1 to Q-10.
template <class T>
using queue = detail::basic_queue<T, detail::fifo_items<T>>;

// The outside
class connect_options;
class datagram_options;
class datagram_socket;
class file;
class process;
class process_options;
class server;
class server_options;
class socket_address;
class stream_options;
class stream_pair;
class stream_reader;
class stream_writer;
class tls_context;  // of tls_context.hpp
class transport;
struct datagram;

// Seeing what goes on
class instrument;
class task_statistics;
class trace_writer;
struct task_frame;
struct task_info;
struct trace_frame;

}  // namespace aio::inline AIO_ABI

#pragma GCC visibility pop
