// SPDX-License-Identifier: MIT
#pragma once

// What the test files include, precompiled once per build. Most of them are compiled several to a file, so that they
// share what they instantiate; there each stands in a namespace of its own, and whatever it includes has to be here.

#include <asio/any_io_executor.hpp>
#include <asio/associated_cancellation_slot.hpp>
#include <asio/associated_executor.hpp>
#include <asio/async_result.hpp>
#include <asio/awaitable.hpp>
#include <asio/bind_allocator.hpp>
#include <asio/bind_cancellation_slot.hpp>
#include <asio/bind_executor.hpp>
#include <asio/buffer.hpp>
#include <asio/cancellation_signal.hpp>
#include <asio/co_spawn.hpp>
#include <asio/connect_pipe.hpp>
#include <asio/defer.hpp>
#include <asio/detached.hpp>
#include <asio/dispatch.hpp>
#include <asio/execution.hpp>
#include <asio/generic/datagram_protocol.hpp>
#include <asio/generic/stream_protocol.hpp>
#include <asio/io_context.hpp>
#include <asio/ip/tcp.hpp>
#include <asio/ip/udp.hpp>
#include <asio/local/connect_pair.hpp>
#include <asio/local/datagram_protocol.hpp>
#include <asio/local/stream_protocol.hpp>
#include <asio/post.hpp>
#include <asio/read.hpp>
#include <asio/read_until.hpp>
#include <asio/readable_pipe.hpp>
#include <asio/redirect_error.hpp>
#include <asio/signal_set.hpp>
#include <asio/steady_timer.hpp>
#include <asio/strand.hpp>
#include <asio/streambuf.hpp>
#include <asio/system_executor.hpp>
#include <asio/thread_pool.hpp>
#include <asio/use_awaitable.hpp>
#include <asio/use_future.hpp>
#include <asio/version.hpp>
#include <asio/writable_pipe.hpp>
#include <asio/write.hpp>
#if defined(ASIO_HAS_FILE)
#include <asio/random_access_file.hpp>
#include <asio/stream_file.hpp>
#endif
#include <algorithm>
#include <array>
#include <atomic>
#include <barrier>
#include <cerrno>
#include <chrono>
#include <cmath>
#include <compare>
#include <coroutine>
#include <csignal>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <exception>
#include <filesystem>
#include <fstream>
#include <functional>
#include <future>
#include <iostream>
#include <iterator>
#include <latch>
#include <limits>
#include <list>
#include <map>
#include <memory>
#include <mutex>
#include <new>
#include <optional>
#include <random>
#include <ranges>
#include <ratio>
#include <set>
#include <source_location>
#include <span>
#include <sstream>
#include <stdexcept>
#include <stop_token>
#include <string>
#include <string_view>
#include <system_error>
#include <thread>
#include <tuple>
#include <type_traits>
#include <unordered_set>
#include <utility>
#include <variant>
#include <vector>

#if defined(__unix__) || defined(__APPLE__)
#include <fcntl.h>
#include <stdlib.h>
#include <net/if.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>
#endif

#include "aio/aio.hpp"
#include "aio/awaitable.hpp"
#include "aio/instrument.hpp"
#include "aio/sendfile.hpp"
#include "aio/task_statistics.hpp"
#include "aio/testing/all_blocked.hpp"
#include "aio/testing/cancel_everywhere.hpp"
#include "aio/testing/counted.hpp"
#include "aio/testing/explore.hpp"
#include "aio/testing/failure.hpp"
#include "aio/testing/memory_stream.hpp"
#include "aio/testing/virtual_clock.hpp"
#include "aio/trace_writer.hpp"
#include "support/asio_adapters.hpp"
#include "support/asked_for.hpp"
#include "support/cancel_everywhere.hpp"
#include "support/catch.hpp"
#include "support/counted.hpp"
#if defined(__unix__) || defined(__APPLE__)
#include "support/descriptors.hpp"
#include "support/in_process.hpp"
#include "support/jobs.hpp"
#include "support/peers.hpp"
#include "support/temporary.hpp"
#endif
#include "support/joining_thread.hpp"
#include "support/memory_wires.hpp"
#include "support/order.hpp"
#include "support/reports.hpp"
#if defined(__unix__) || defined(__APPLE__)
#include "support/sockets.hpp"
#endif
#include "support/stream_calls.hpp"
#include "support/trace.hpp"

// Opens the namespace of the test file that follows.
#define AIO_TEST_NAMESPACE_OF(number) test_file_##number
#define AIO_TEST_NAMESPACE(number) AIO_TEST_NAMESPACE_OF(number)
#define AIO_TEST_FILE namespace AIO_TEST_NAMESPACE(__COUNTER__)
