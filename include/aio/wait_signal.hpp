// SPDX-License-Identifier: MIT
#pragma once

// Waiting for a signal of the process.
//
//   aio::task<> serve() {
//     auto const server = aio::create_task(accept_all());
//     int const number = co_await aio::wait_signal(SIGTERM, SIGINT);  // run() leaves both alone from here on
//     std::cout << "ends by signal " << number << '\n';
//     server.cancel();
//     co_await aio::as_result(server);
//   }
//
// To be called for each of them use event_loop::add_signal_handler.

#include "aio/config.hpp"
#include "aio/detail/keywords_off.hpp"  // before Asio

#include "aio/detail/loop_signals.hpp"

#if AIO_HAS_SIGACTION
#include <concepts>
#include <coroutine>
#include <cstddef>

#include "aio/detail/loop_core.hpp"
#include "aio/event_loop.hpp"
#endif
#pragma GCC visibility push(default)

namespace aio::inline AIO_ABI {

#if AIO_HAS_SIGACTION

namespace detail {
template <class Loop>
class signal_wait;
}

/// Waits for the first of some signals, and gives its number.
///
/// From the first wait for a signal on, until it is closed, the loop remembers that signal whenever it comes while no
/// task waits for it. So none is missed between two waits: the next one has it at once. Where it came more than once
/// before a task could have it that is one, as if the process had blocked it; of several signals the one that came
/// first is given. All tasks that wait for it when the loop notices it get it, and it is remembered for none of them
/// then. A handler of the loop for the signal is called, too. What is remembered when the loop is closed is forgotten.
///
/// As long, run(), other loops and what the program had for the signal are as event_loop::add_signal_handler says: so a
/// second Ctrl-C is remembered like any signal, and does not end the process.
///
/// Suspends: unless one of them is remembered.
/// Resumes: in the iteration after the one that hands the signal out, see SIG-21, in the order of the waits.
/// Cancelled: stops waiting, and loses no signal: a task that was given one before it was cancelled returns it, and the
/// cancellation comes at its next suspension (D3).
/// Throws: std::invalid_argument if there is no such signal; usage_error for SIGKILL, SIGSTOP and the signals of a
/// fault; system_error if there are no descriptors for it.
/// asyncio: none, SIG-33; D41.
template <std::same_as<int>... Numbers>
  requires(sizeof...(Numbers) > 0)
[[nodiscard("co_await it: nothing is waited for before")]] detail::signal_wait<detail::loop_core> wait_signal(
    Numbers... numbers);

// ---------------------------------------------------------------- implementation

namespace detail {

// A template, so that programs which wait for none do not compile it.
template <class Loop>
class signal_wait final : public signal_waiter {
 public:
  explicit signal_wait(signal_numbers const& wanted) noexcept : signal_waiter(wanted) {}

  bool await_ready() noexcept {
    signal_part* const signals = signal_part::find(on());
    if (signals) this->number_ = signals->take_past(this->wanted());
    return this->number_ != 0;
  }
  void await_suspend(std::coroutine_handle<>) {
    signal_part::of(on()).join(*this);
    this->suspend();
  }
  int await_resume() {
    if (this->suspended()) this->check_cancelled();
    return this->number_;
  }

 private:
  [[nodiscard]] Loop& on() const noexcept { return static_cast<Loop&>(this->loop()); }
};

}  // namespace detail

template <std::same_as<int>... Numbers>
  requires(sizeof...(Numbers) > 0)
detail::signal_wait<detail::loop_core> wait_signal(Numbers... numbers) {
  detail::signal_numbers wanted;
  for (int const number : {numbers...}) {
    detail::check_catchable(number, "wait_signal");
    wanted.set(static_cast<std::size_t>(number));
  }
  return detail::signal_wait<detail::loop_core>(wanted);
}

#endif

}  // namespace aio::inline AIO_ABI

#pragma GCC visibility pop

#include "aio/detail/keywords_back.hpp"
