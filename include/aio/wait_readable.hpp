// SPDX-License-Identifier: MIT
#pragma once

// Waiting for a descriptor that belongs to somebody else, as those of C libraries do.
//
//   aio::task<> next_result(PGconn* connection) {
//     while (PQisBusy(connection)) {
//       co_await aio::wait_readable(PQsocket(connection));
//       if (!PQconsumeInput(connection)) throw database_error(connection);
//     }
//   }
//
// To be called each time use event_loop::add_reader and add_writer.

#include "aio/config.hpp"
#include "aio/detail/keywords_off.hpp"  // before Asio

#include "aio/detail/loop_descriptors.hpp"

#if AIO_HAS_READERS
#include <coroutine>

#include "aio/detail/loop_core.hpp"
#endif
#pragma GCC visibility push(default)

namespace aio::inline AIO_ABI {

#if AIO_HAS_READERS

namespace detail {
template <class Loop>
class descriptor_wait;
}

/// Waits until the descriptor can be read, or has hung up; or written to. Nothing is read or written: the task does
/// that, and should be ready to find nothing, for others may have been faster.
///
/// Any number of tasks may wait for one descriptor, beside the functions of add_reader and add_writer: all are woken.
/// For the first of both: `co_await aio::race(aio::wait_readable(d), aio::wait_writable(d))`. Linux, macOS and BSD.
///
/// Suspends: always.
/// Resumes: in the iteration after the one that finds it ready, in the order of the waits.
/// Cancelled: stops waiting.
/// Throws: system_error if the system cannot wait for it, as for a regular file; std::invalid_argument if it is
/// negative.
/// Lifetime: the descriptor stays the caller's. Who closes it while a task waits cancels the task before: it would wait
/// on, or for what gets the number next.
/// asyncio: none, FD-5. Trio's wait_readable.
[[nodiscard("co_await it: nothing is waited for before")]] inline detail::descriptor_wait<detail::loop_core>
wait_readable(int descriptor) noexcept;
[[nodiscard("co_await it: nothing is waited for before")]] inline detail::descriptor_wait<detail::loop_core>
wait_writable(int descriptor) noexcept;

// ---------------------------------------------------------------- implementation

namespace detail {

// A template, so that programs which wait for none do not compile it.
template <class Loop>
class descriptor_wait final : public descriptor_waiter {
 public:
  descriptor_wait(int number, readiness what) noexcept : descriptor_waiter(number, what) {}

  static constexpr bool await_ready() noexcept { return false; }
  void await_suspend(std::coroutine_handle<>) {
    descriptor_part::of(static_cast<Loop&>(this->loop())).join(*this);
    this->suspend();
  }
  void await_resume() { this->check_cancelled(); }
};

}  // namespace detail

inline detail::descriptor_wait<detail::loop_core> wait_readable(int descriptor) noexcept {
  return {descriptor, detail::readiness::read};
}
inline detail::descriptor_wait<detail::loop_core> wait_writable(int descriptor) noexcept {
  return {descriptor, detail::readiness::write};
}

#endif

}  // namespace aio::inline AIO_ABI

#pragma GCC visibility pop

#include "aio/detail/keywords_back.hpp"
