// SPDX-License-Identifier: MIT

// Asio's adapters of completion tokens around aio's: each gives what it gives around Asio's own. What an operation
// that was cancelled says of its end.

#include <chrono>
#include <memory>
#include <stdexcept>
#include <string>
#include <system_error>
#include <tuple>
#include <type_traits>

#include <asio/bind_allocator.hpp>
#include <asio/bind_cancellation_slot.hpp>
#include <asio/bind_executor.hpp>
#include <asio/cancellation_signal.hpp>
#include <asio/post.hpp>
#include <asio/redirect_error.hpp>
#include <asio/steady_timer.hpp>
#include <asio/strand.hpp>

#include "aio/as_result.hpp"
#include "aio/run.hpp"
#include "aio/sleep.hpp"
#include "aio/testing/virtual_clock.hpp"
#include "aio/timeout.hpp"
#include "aio/use_awaitable.hpp"
#include "support/asio_adapters.hpp"
#include "support/catch.hpp"

using namespace std::chrono_literals;
namespace adapters = aio_test::adapters;

namespace {

asio::steady_timer& soon(asio::steady_timer& timer) {
  timer.expires_after(0s);
  return timer;
}
asio::steady_timer& never(asio::steady_timer& timer) {
  timer.expires_at(asio::steady_timer::time_point::max());
  return timer;
}

/// An operation that ends with `values` when it is asked to, and not before.
template <class... R>
auto end_with(R... values) {
  return asio::async_initiate<aio::use_awaitable_t const, void(R...)>(
      [](auto handler, auto... given) {
        auto const kept = std::make_shared<decltype(handler)>(std::move(handler));
        asio::get_associated_cancellation_slot(*kept).assign([kept, given...](asio::cancellation_type_t) {
          asio::post(aio::get_running_loop().context(), [kept, given...] { std::move (*kept)(given...); });
        });
      },
      aio::use_awaitable, std::move(values)...);
}

template <class Operation>
aio::task<bool> ends_cancelled(Operation operation) {
  auto task = aio::create_task([&]() -> aio::task<> { (void)co_await std::move(operation); });
  co_await aio::sleep_for(0s);
  task.cancel();
  auto const ended = co_await aio::as_result(task);
  co_return ended.cancelled();
}

aio::error_code const no_file = aio::make_error_code(std::errc::no_such_file_or_directory);

}  // namespace

TEST_CASE("adapters: each gives its values, also inside others") {
  aio::testing::run([]() -> aio::task<> {
    auto const executor = co_await asio::this_coro::executor;
    auto const strand = asio::make_strand(executor);
    asio::steady_timer timer(executor);
    aio::error_code error = no_file;
    co_await soon(timer).async_wait(asio::redirect_error(aio::use_awaitable, error));
    CHECK_FALSE(error);
    co_await soon(timer).async_wait(asio::redirect_error(asio::bind_executor(strand, aio::use_awaitable), error));
    co_await soon(timer).async_wait(asio::bind_executor(strand, asio::redirect_error(aio::use_awaitable, error)));
    co_await soon(timer).async_wait(asio::bind_allocator(std::allocator<void>(), aio::use_awaitable));
    asio::cancellation_signal signal;
    co_await soon(timer).async_wait(asio::bind_cancellation_slot(signal.slot(), aio::use_awaitable));
    auto const [told] = co_await soon(timer).async_wait(adapters::as_tuple(aio::use_awaitable));
    CHECK_FALSE(told);
    int const seven = co_await soon(timer).async_wait(adapters::append(aio::use_awaitable, 7));
    CHECK(seven == 7);
    auto const [five, none] = co_await soon(timer).async_wait(adapters::prepend(aio::use_awaitable, 5));
    CHECK(five == 5);
    CHECK_FALSE(none);
#if __has_include(<asio/consign.hpp>)
    co_await soon(timer).async_wait(asio::consign(aio::use_awaitable, 1));
#endif
#if __has_include(<asio/cancel_after.hpp>)
    co_await soon(timer).async_wait(asio::cancel_after(1h, aio::use_awaitable));
    auto const [late] =
        co_await never(timer).async_wait(asio::cancel_after(1ms, adapters::as_tuple(aio::use_awaitable)));
    CHECK(late == asio::error::operation_aborted);
#endif
  });
}

TEST_CASE("adapters: a cancellation goes through each, and is thrown") {
  aio::testing::run([]() -> aio::task<> {
    auto const executor = co_await asio::this_coro::executor;
    auto const strand = asio::make_strand(executor);
    asio::steady_timer timer(executor);
    aio::error_code error;
    bool redirected = co_await ends_cancelled(never(timer).async_wait(asio::redirect_error(aio::use_awaitable, error)));
    CHECK(redirected);
    CHECK(error == asio::error::operation_aborted);
    redirected = co_await ends_cancelled(
        never(timer).async_wait(asio::redirect_error(asio::bind_executor(strand, aio::use_awaitable), error)));
    CHECK(redirected);
    bool const appended = co_await ends_cancelled(never(timer).async_wait(adapters::append(aio::use_awaitable, 7)));
    CHECK(appended);
    bool const prepended = co_await ends_cancelled(never(timer).async_wait(adapters::prepend(aio::use_awaitable, 7)));
    CHECK(prepended);
    bool const as_tuple = co_await ends_cancelled(never(timer).async_wait(adapters::as_tuple(aio::use_awaitable)));
    CHECK(as_tuple);
#if __has_include(<asio/cancel_after.hpp>)
    bool const limited = co_await ends_cancelled(never(timer).async_wait(asio::cancel_after(1h, aio::use_awaitable)));
    CHECK(limited);
#endif
  });
}

TEST_CASE("adapters: with a slot of its own an operation listens to that one alone") {
  aio::testing::run([]() -> aio::task<> {
    asio::steady_timer timer(co_await asio::this_coro::executor);
    asio::cancellation_signal signal;
    auto const waits = [&]() -> aio::task<> {
      co_await never(timer).async_wait(asio::bind_cancellation_slot(signal.slot(), aio::use_awaitable));
    };
    auto waiting = aio::create_task(waits);
    co_await aio::sleep_for(0s);
    waiting.cancel();
    for (int i = 0; i < 3; ++i) co_await aio::sleep_for(0s);
    CHECK_FALSE(waiting.done());
    signal.emit(asio::cancellation_type::all);
    auto const ended = co_await aio::as_result(waiting);
    CHECK(ended.cancelled());
  });
}

TEST_CASE("completion status: the first error code alone is one, and others are values") {
  aio::testing::run([]() -> aio::task<> {
    auto& context = aio::get_running_loop().context();
    auto operation = asio::async_initiate<aio::use_awaitable_t const, void(aio::error_code, aio::error_code, int)>(
        [&](auto handler) {
          asio::post(context, [handler = std::move(handler)]() mutable {
            std::move(handler)(aio::error_code(), no_file, 3);
          });
        },
        aio::use_awaitable);
    auto const [error, three] = co_await std::move(operation);
    CHECK(error == no_file);
    CHECK(three == 3);
    using two = decltype(end_with(no_file, no_file).await_resume());
    CHECK(std::is_same_v<two, aio::error_code>);
  });
}

TEST_CASE("completion status: any error that an operation ends with which was asked to is the cancellation") {
  aio::testing::run([]() -> aio::task<> {
    bool const code = co_await ends_cancelled(end_with(no_file));
    CHECK(code);
    bool const thrown = co_await ends_cancelled(end_with(std::make_exception_ptr(aio::system_error(no_file))));
    CHECK(thrown);
    bool const behind = co_await ends_cancelled(end_with(1, no_file));
    CHECK(behind);
    bool const all = co_await ends_cancelled(end_with(1, no_file, 2, no_file));
    CHECK(all);
    bool const one = co_await ends_cancelled(end_with(1, no_file, 2, aio::error_code()));
    CHECK_FALSE(one);  // what the other one got would be lost
    bool const other = co_await ends_cancelled(end_with(std::make_exception_ptr(std::logic_error("a fault"))));
    CHECK_FALSE(other);
  });
}
