// SPDX-License-Identifier: MIT
#include "aio/use_awaitable.hpp"

#include <array>
#include <cerrno>
#include <csignal>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <asio/awaitable.hpp>
#include <asio/associated_cancellation_slot.hpp>
#include <asio/bind_executor.hpp>
#include <asio/buffer.hpp>
#include <asio/cancellation_signal.hpp>
#include <asio/co_spawn.hpp>
#include <asio/dispatch.hpp>
#include <asio/ip/tcp.hpp>
#include <asio/read.hpp>
#include <asio/read_until.hpp>
#include <asio/signal_set.hpp>
#include <asio/steady_timer.hpp>
#include <asio/streambuf.hpp>
#include <asio/thread_pool.hpp>
#include <asio/use_awaitable.hpp>
#include <asio/write.hpp>

#include "aio/as_result.hpp"
#include "aio/gather.hpp"
#include "aio/run.hpp"
#include "aio/sleep.hpp"
#include "aio/testing/virtual_clock.hpp"
#include "aio/timeout.hpp"
#include "support/asio_adapters.hpp"
#include "support/catch.hpp"
#include "support/counted.hpp"
#include "support/trace.hpp"
#if defined(__unix__) || defined(__APPLE__)
#include <asio/local/stream_protocol.hpp>

#include "support/temporary.hpp"
#endif

using namespace std::chrono_literals;
using aio_test::ContainsSubstring;
using asio::ip::tcp;

namespace adapters = aio_test::adapters;

namespace {

/// An operation that completes with `values` through the context's queue, deaf to cancellation.
template <class... R, class... V>
auto complete_with(asio::io_context& context, V... values) {
  return asio::async_initiate<aio::use_awaitable_t const, void(R...)>(
      [&context](auto handler, auto... given) {
        asio::post(context, [handler = std::move(handler), ... given = std::move(given)]() mutable {
          std::move(handler)(std::move(given)...);
        });
      },
      aio::use_awaitable, std::move(values)...);
}

/// A connected pair of sockets on the running loop.
struct connection {
  tcp::socket client, server;
};
aio::task<connection> connect() {
  auto executor = co_await asio::this_coro::executor;
  tcp::acceptor acceptor(executor, {asio::ip::address_v4::loopback(), 0});
  tcp::socket client(executor);
  co_await client.async_connect(acceptor.local_endpoint(), aio::use_awaitable);
  tcp::socket server = co_await acceptor.async_accept(aio::use_awaitable);
  co_return connection{std::move(client), std::move(server)};
}

auto const refused = asio::error::make_error_code(asio::error::connection_refused);

}  // namespace

TEST_CASE("use_awaitable: waits for a timer of Asio") {
  aio::run([]() -> aio::task<> {
    auto const before = std::chrono::steady_clock::now();
    asio::steady_timer timer(co_await asio::this_coro::executor, 3ms);
    co_await timer.async_wait(aio::use_awaitable);
    CHECK(std::chrono::steady_clock::now() - before >= 3ms);
  });
}

TEST_CASE("use_awaitable: connects, accepts, writes and reads") {
  aio::testing::run([]() -> aio::task<> {
    auto [client, server] = co_await connect();
    std::string const text = "hello";
    std::size_t const written = co_await client.async_write_some(asio::buffer(text), aio::use_awaitable);
    CHECK(written == 5);
    std::array<char, 16> got{};
    std::size_t const n = co_await server.async_read_some(asio::buffer(got), aio::use_awaitable);
    CHECK(std::string(got.data(), n) == "hello");
    client.close();
    auto const end = co_await aio::as_result(server.async_read_some(asio::buffer(got), aio::use_awaitable));
    try {
      end.rethrow();
      CHECK(false);
    } catch (aio::system_error const& e) {
      CHECK(e.code() == asio::error::eof);
    }
  });
}

TEST_CASE("use_awaitable: composed operations move every byte") {
  aio::testing::run([]() -> aio::task<> {
    auto [client, server] = co_await connect();
    std::string sent(1 << 20, 'x');
    for (std::size_t i = 0; i < sent.size(); ++i) sent[i] = static_cast<char>('a' + i % 26);
    std::string got(sent.size(), ' ');
    auto write = [&, &to = client]() -> aio::task<std::size_t> {
      co_return co_await asio::async_write(to, asio::buffer(sent), aio::use_awaitable);
    };
    auto read = [&, &from = server]() -> aio::task<std::size_t> {
      co_return co_await asio::async_read(from, asio::buffer(got), aio::use_awaitable);
    };
    auto [written, n] = co_await aio::gather(write(), read());
    CHECK(written == sent.size());
    CHECK(n == sent.size());
    CHECK((got == sent));

    co_await asio::async_write(client, asio::buffer(std::string_view("one\ntwo\n")), aio::use_awaitable);
    asio::streambuf lines;
    std::size_t const line = co_await asio::async_read_until(server, lines, '\n', aio::use_awaitable);
    CHECK(line == 4);
  });
}

TEST_CASE("use_awaitable: resolves a name") {
  aio::testing::run([]() -> aio::task<> {
    tcp::resolver resolver(co_await asio::this_coro::executor);
    auto const found = co_await resolver.async_resolve("127.0.0.1", "80", aio::use_awaitable);
    REQUIRE(found.size() == 1);
    CHECK(found.begin()->endpoint().port() == 80);
  });
}

TEST_CASE("use_awaitable: waits for a signal") {
  aio::testing::run([]() -> aio::task<> {
    asio::signal_set signals(co_await asio::this_coro::executor, SIGUSR1);
    aio::get_running_loop().call_soon([] { std::raise(SIGUSR1); });
    int const number = co_await signals.async_wait(aio::use_awaitable);
    CHECK(number == SIGUSR1);
  });
}

TEST_CASE("use_awaitable: post and dispatch go through the executor and come back") {
  aio::testing::run([]() -> aio::task<> {
    auto executor = co_await asio::this_coro::executor;
    co_await asio::post(executor, aio::use_awaitable);
    co_await asio::dispatch(executor, aio::use_awaitable);
    auto const here = std::this_thread::get_id();
    asio::thread_pool pool(1);
    co_await asio::post(pool, aio::use_awaitable);
    CHECK(std::this_thread::get_id() == here);
  });
}

TEST_CASE("use_awaitable: co_await this_coro::executor gives the loop's") {
  aio::testing::run([]() -> aio::task<> {
    auto const executor = co_await asio::this_coro::executor;
    bool const same = executor == aio::get_running_loop().get_executor();
    CHECK(same);
  });
}

// ---- what operations complete with

TEST_CASE("use_awaitable: gives nothing, the value, or a tuple of the values") {
  aio::testing::run([]() -> aio::task<> {
    auto& context = aio::get_running_loop().context();
    co_await complete_with<>(context);
    co_await complete_with<aio::error_code>(context, aio::error_code());
    co_await complete_with<std::exception_ptr>(context, std::exception_ptr());
    int const a = co_await complete_with<int>(context, 1);
    CHECK(a == 1);
    int const b = co_await complete_with<aio::error_code, int>(context, aio::error_code(), 2);
    CHECK(b == 2);
    int const c = co_await complete_with<std::exception_ptr, int>(context, std::exception_ptr(), 3);
    CHECK(c == 3);
    auto const [d, e] = co_await complete_with<int, std::string>(context, 4, std::string("e"));
    CHECK(d == 4);
    CHECK(e == "e");
    auto const [f, g] = co_await complete_with<aio::error_code, int, std::string>(context, aio::error_code(), 5,
                                                                                  std::string("g"));
    CHECK(f == 5);
    CHECK(g == "g");
    auto const [h, i, j] =
        co_await complete_with<std::exception_ptr, int, int, int>(context, std::exception_ptr(), 6, 7, 8);
    CHECK(h + i + j == 21);
  });
}

TEST_CASE("use_awaitable: gives results that can only be moved, and that have no default") {
  struct no_default {
    explicit no_default(int v) : value(v) {}
    int value;
  };
  aio::testing::run([]() -> aio::task<> {
    auto& context = aio::get_running_loop().context();
    auto const p = co_await complete_with<std::unique_ptr<int>>(context, std::make_unique<int>(7));
    CHECK(*p == 7);
    auto const q = co_await complete_with<aio::error_code, std::unique_ptr<int>>(context, aio::error_code(),
                                                                                 std::make_unique<int>(8));
    CHECK(*q == 8);
    auto const n = co_await complete_with<aio::error_code, no_default>(context, aio::error_code(), no_default(9));
    CHECK(n.value == 9);
  });
}

TEST_CASE("use_awaitable: an error code is thrown as system_error, an exception as it is") {
  aio::testing::run([]() -> aio::task<> {
    auto& context = aio::get_running_loop().context();
    auto const code = co_await aio::as_result(complete_with<aio::error_code, int>(context, refused, 0));
    try {
      code.rethrow();
      CHECK(false);
    } catch (aio::system_error const& e) {
      CHECK(e.code() == refused);
    }
    auto const error = std::make_exception_ptr(std::logic_error("mine"));
    auto const thrown = co_await aio::as_result(complete_with<std::exception_ptr>(context, error));
    CHECK_THROWS_WITH(thrown.rethrow(), "mine");
    auto const with_value = co_await aio::as_result(complete_with<std::exception_ptr, int>(context, error, 1));
    CHECK_THROWS_AS(with_value.rethrow(), std::logic_error);
  });
}

TEST_CASE("use_awaitable: operation_aborted without a cancellation is an error like any other") {
  aio::testing::run([]() -> aio::task<> {
    asio::steady_timer timer(co_await asio::this_coro::executor, 1h);
    aio::get_running_loop().call_soon([&] { timer.cancel(); });
    auto const ended = co_await aio::as_result(timer.async_wait(aio::use_awaitable));
    CHECK_FALSE(ended.cancelled());
    CHECK_THROWS_AS(ended.rethrow(), aio::system_error);
  });
}

TEST_CASE("use_awaitable: as_tuple gives the error code instead of throwing") {
  aio::testing::run([]() -> aio::task<> {
    auto [client, server] = co_await connect();
    client.close();
    std::array<char, 4> buffer{};
    auto const [error, n] =
        co_await server.async_read_some(asio::buffer(buffer), adapters::as_tuple(aio::use_awaitable));
    CHECK(error == asio::error::eof);
    CHECK(n == 0);
    asio::steady_timer timer(server.get_executor(), 0s);
    auto const [none] = co_await timer.async_wait(adapters::as_tuple(aio::use_awaitable));
    CHECK_FALSE(none);
  });
}

TEST_CASE("use_awaitable: as_default_on_t makes it the default token") {
  using timer = aio::use_awaitable_t::as_default_on_t<asio::steady_timer>;
  using socket = aio::use_awaitable_t::as_default_on_t<tcp::socket>;
  using acceptor = aio::use_awaitable_t::as_default_on_t<tcp::acceptor>;
  aio::testing::run([]() -> aio::task<> {
    auto executor = co_await asio::this_coro::executor;
    timer soon(executor, 1ms);
    co_await soon.async_wait();
    acceptor listening(executor, {asio::ip::address_v4::loopback(), 0});
    socket client(executor);
    co_await client.async_connect(listening.local_endpoint());
    auto server = co_await listening.async_accept();
    std::size_t const n = co_await server.async_write_some(asio::buffer("x", 1));
    CHECK(n == 1);
    std::array<char, 4> buffer{};
    std::size_t const m = co_await client.async_read_some(asio::buffer(buffer));
    CHECK(m == 1);
  });
}

TEST_CASE("use_awaitable: as_default_on converts an object") {
  aio::testing::run([]() -> aio::task<> {
    auto executor = co_await asio::this_coro::executor;
    auto signals = aio::use_awaitable_t::as_default_on(tcp::socket(executor));
    tcp::acceptor acceptor(executor, {asio::ip::address_v4::loopback(), 0});
    co_await signals.async_connect(acceptor.local_endpoint());
    CHECK(signals.is_open());
  });
}

TEST_CASE("use_awaitable: a deferred operation is awaited without a token") {
  aio::testing::run([]() -> aio::task<> {
    asio::steady_timer timer(co_await asio::this_coro::executor, 1ms);
    co_await timer.async_wait(adapters::deferred);
    auto kept = timer.async_wait(adapters::deferred);
    co_await std::move(kept);
    auto [client, server] = co_await connect();
    std::size_t const n = co_await client.async_write_some(asio::buffer("ab", 2), adapters::deferred);
    CHECK(n == 2);
  });
}

TEST_CASE("use_awaitable: an operation starts when it is awaited, and not at all if it never is") {
  aio::testing::run([]() -> aio::task<> {
    int started = 0;
    auto operation = [&] {
      return asio::async_initiate<aio::use_awaitable_t const, void()>(
          [&](auto handler) {
            ++started;
            asio::post(aio::get_running_loop().context(), std::move(handler));
          },
          aio::use_awaitable);
    };
    auto kept = operation();
    { [[maybe_unused]] auto dropped = operation(); }
    co_await aio::sleep_for(0s);
    CHECK(started == 0);
    co_await std::move(kept);
    CHECK(started == 1);
  });
}

TEST_CASE("use_awaitable: an operation may complete while it is being started") {
  aio::testing::run([]() -> aio::task<> {
    int const n = co_await asio::async_initiate<aio::use_awaitable_t const, void(int)>(
        [](auto handler) { std::move(handler)(5); }, aio::use_awaitable);
    CHECK(n == 5);
  });
}

TEST_CASE("use_awaitable: an exception from the start of an operation is thrown") {
  aio::testing::run([]() -> aio::task<> {
    auto operation = asio::async_initiate<aio::use_awaitable_t const, void(int)>(
        [](auto) { throw std::runtime_error("cannot start"); }, aio::use_awaitable);
    auto const ended = co_await aio::as_result(std::move(operation));
    CHECK_THROWS_WITH(ended.rethrow(), "cannot start");
    co_await aio::sleep_for(0s);
  });
}

TEST_CASE("use_awaitable: an exception from the start of an operation that completed, or completes later, is thrown") {
  aio::testing::run([]() -> aio::task<> {
    auto at_once = asio::async_initiate<aio::use_awaitable_t const, void(int)>(
        [](auto handler) {
          std::move(handler)(5);
          throw std::runtime_error("after it completed");
        },
        aio::use_awaitable);
    auto const first = co_await aio::as_result(std::move(at_once));
    CHECK_THROWS_WITH(first.rethrow(), "after it completed");
    auto& context = aio::get_running_loop().context();
    auto later = asio::async_initiate<aio::use_awaitable_t const, void(int)>(
        [&](auto handler) {
          asio::post(context, [handler = std::move(handler)]() mutable { std::move(handler)(5); });
          throw std::runtime_error("before it completes");
        },
        aio::use_awaitable);
    auto const second = co_await aio::as_result(std::move(later));
    CHECK_THROWS_WITH(second.rethrow(), "before it completes");
  });
}

TEST_CASE("use_awaitable: a handler that is destroyed uncalled makes it throw") {
  aio::testing::run([]() -> aio::task<> {
    auto& context = aio::get_running_loop().context();
    auto at_once = asio::async_initiate<aio::use_awaitable_t const, void(int)>([](auto) {}, aio::use_awaitable);
    auto const first = co_await aio::as_result(std::move(at_once));
    CHECK_THROWS_WITH(first.rethrow(), ContainsSubstring("destroyed the operation"));
    auto later = asio::async_initiate<aio::use_awaitable_t const, void(int)>(
        [&](auto handler) { asio::post(context, [handler = std::move(handler)] {}); }, aio::use_awaitable);
    auto const second = co_await aio::as_result(std::move(later));
    CHECK_THROWS_AS(second.rethrow(), aio::usage_error);
  });
}

// ---- cancellation

TEST_CASE("use_awaitable: a cancellation ends a pending operation, which is over when it is thrown") {
  aio::testing::run([]() -> aio::task<> {
    auto [client, server] = co_await connect();
    auto read = [&from = server]() -> aio::task<> {
      std::array<char, 4> buffer{};
      co_await from.async_read_some(asio::buffer(buffer), aio::use_awaitable);
    };
    auto handle = aio::create_task(read);
    co_await aio::sleep_for(0s);
    handle.cancel("enough");
    try {
      co_await handle;
      CHECK(false);
    } catch (aio::cancelled_error const& e) {
      CHECK(e.message() == "enough");
    }
    CHECK(handle.cancelled());
    // Nothing is pending any more: a new read gets what is written now.
    co_await client.async_write_some(asio::buffer("z", 1), aio::use_awaitable);
    std::array<char, 4> buffer{};
    std::size_t const n = co_await server.async_read_some(asio::buffer(buffer), aio::use_awaitable);
    CHECK(n == 1);
  });
}

TEST_CASE("use_awaitable: cancels timers, accepts, signals and composed reads") {
  aio::testing::run([]() -> aio::task<> {
    auto executor = co_await asio::this_coro::executor;
    asio::steady_timer timer(executor, 1h);
    tcp::acceptor acceptor(executor, {asio::ip::address_v4::loopback(), 0});
    asio::signal_set signals(executor, SIGUSR2);
    auto [client, server] = co_await connect();
    std::array<char, 64> buffer{};
    auto wait = [&]() -> aio::task<> { co_await timer.async_wait(aio::use_awaitable); };
    auto accept = [&]() -> aio::task<> { co_await acceptor.async_accept(aio::use_awaitable); };
    auto signal = [&]() -> aio::task<> { co_await signals.async_wait(aio::use_awaitable); };
    auto read = [&, &from = server]() -> aio::task<> {
      co_await asio::async_read(from, asio::buffer(buffer), aio::use_awaitable);
    };
    std::vector<aio::task_handle<>> all{aio::create_task(wait), aio::create_task(accept), aio::create_task(signal),
                                        aio::create_task(read)};
    co_await aio::sleep_for(0s);
    co_await client.async_write_some(asio::buffer("part", 4), aio::use_awaitable);
    for (auto& each : all) each.cancel();
    for (auto& each : all) {
      auto const ended = co_await aio::as_result(each);
      CHECK(ended.cancelled());
    }
  });
}

namespace {

/// What an operation leaves in its slot: more of it than the awaiter has room for, and counted.
struct large_canceller : aio_test::counted {
  explicit large_canceller(std::function<void()> what) : counted(0), act(std::move(what)) {}
  void operator()(asio::cancellation_type_t type) {
    if (type != asio::cancellation_type::none) act();
  }
  std::function<void()> act;
  std::array<char, 200> more{};
};

/// An operation that only ends when it is cancelled. `Slot` is the type by which it calls its slot.
template <class Slot>
auto wait_for_cancellation(asio::io_context& context) {
  return asio::async_initiate<aio::use_awaitable_t const, void(aio::error_code)>(
      [&context](auto handler) {
        Slot slot = asio::get_associated_cancellation_slot(handler);
        CHECK(slot.is_connected());
        CHECK_FALSE(slot.has_handler());
        auto kept = std::make_shared<decltype(handler)>(std::move(handler));
        slot.template emplace<large_canceller>([&context, kept] {
          asio::post(context, [kept] { (std::move(*kept))(aio::error_code(asio::error::operation_aborted)); });
        });
        CHECK(slot.has_handler());
      },
      aio::use_awaitable);
}

template <class Slot>
aio::task<> cancels_through() {
  auto& context = aio::get_running_loop().context();
  auto waiting = aio::create_task([&]() -> aio::task<> { co_await wait_for_cancellation<Slot>(context); });
  co_await aio::sleep_for(0s);
  waiting.cancel("by name");
  auto const ended = co_await aio::as_result(waiting);
  CHECK(ended.cancelled());
}

}  // namespace

TEST_CASE("use_awaitable: an operation may leave a large handler in its slot, which goes with it") {
  aio::testing::run([]() -> aio::task<> { co_await cancels_through<aio::detail::cancel_slot>(); });
  CHECK(aio_test::counted::living() == 0);
}

TEST_CASE("use_awaitable: what an operation leaves in its slot after it completed goes, too") {
  aio::testing::run([]() -> aio::task<> {
    std::weak_ptr<int> left;
    int const n = co_await asio::async_initiate<aio::use_awaitable_t const, void(int)>(
        [&](auto handler) {
          auto slot = asio::get_associated_cancellation_slot(handler);
          std::move(handler)(5);
          auto kept = std::make_shared<int>(1);
          left = kept;
          slot.assign([kept = std::move(kept)](asio::cancellation_type_t) {});
        },
        aio::use_awaitable);
    CHECK(n == 5);
    CHECK(left.expired());
  });
}

TEST_CASE("use_awaitable: an operation may ask for Asio's own kind of slot") {
  aio::testing::run([]() -> aio::task<> { co_await cancels_through<asio::cancellation_slot>(); });
  CHECK(aio_test::counted::living() == 0);
}

TEST_CASE("use_awaitable: an operation may take back what it left in its slot, and is then deaf") {
  aio::testing::run([]() -> aio::task<> {
    auto& context = aio::get_running_loop().context();
    auto operation = [&]() -> aio::task<int> {
      co_return co_await asio::async_initiate<aio::use_awaitable_t const, void(int)>(
          [&context](auto handler) {
            auto slot = asio::get_associated_cancellation_slot(handler);
            slot.assign([](asio::cancellation_type_t) { CHECK(false); });
            slot.clear();
            CHECK_FALSE(slot.has_handler());
            CHECK(slot == asio::get_associated_cancellation_slot(handler));
            asio::post(context, [handler = std::move(handler)]() mutable { std::move(handler)(7); });
          },
          aio::use_awaitable);
    };
    auto running = aio::create_task(operation);
    co_await aio::sleep_for(0s);
    running.cancel();
    int const value = co_await running;
    CHECK(value == 7);
  });
}

TEST_CASE("use_awaitable: with as_tuple, too, a cancellation is thrown") {
  aio::testing::run([]() -> aio::task<> {
    asio::steady_timer timer(co_await asio::this_coro::executor, 1h);
    auto wait = [&]() -> aio::task<> {
      auto const [error] = co_await timer.async_wait(adapters::as_tuple(aio::use_awaitable));
      CHECK_FALSE(error);
    };
    auto handle = aio::create_task(wait);
    co_await aio::sleep_for(0s);
    handle.cancel();
    auto const ended = co_await aio::as_result(handle);
    CHECK(ended.cancelled());
  });
}

TEST_CASE("use_awaitable: of several cancellations the first one's message counts") {
  aio::testing::run([]() -> aio::task<> {
    asio::steady_timer timer(co_await asio::this_coro::executor, 1h);
    auto wait = [&]() -> aio::task<> { co_await timer.async_wait(aio::use_awaitable); };
    auto handle = aio::create_task(wait);
    co_await aio::sleep_for(0s);
    handle.cancel("first");
    handle.cancel("second");
    try {
      co_await handle;
    } catch (aio::cancelled_error const& e) {
      CHECK(e.message() == "first");
    }
    CHECK(handle.cancelling() == 2);
  });
}

TEST_CASE("use_awaitable: a task cancelled before it awaits does not start the operation") {
  aio::testing::run([]() -> aio::task<> {
    bool started = false;
    auto main = [&]() -> aio::task<> {
      aio::current_task().cancel();
      co_await asio::async_initiate<aio::use_awaitable_t const, void()>(
          [&](auto handler) {
            started = true;
            std::move(handler)();
          },
          aio::use_awaitable);
    };
    auto handle = aio::create_task(main);
    auto const ended = co_await aio::as_result(handle);
    CHECK(ended.cancelled());
    CHECK_FALSE(started);
  });
}

TEST_CASE("use_awaitable: a cancellation that the task brings along is on its way, and cannot be taken back any more") {
  aio::testing::run([]() -> aio::task<> {
    asio::steady_timer timer(co_await asio::this_coro::executor, 1h);
    auto main = [&]() -> aio::task<> {
      aio::current_task().cancel();
      co_await timer.async_wait(aio::use_awaitable);
    };
    auto handle = aio::create_task(main);
    aio::get_running_loop().call_soon([&] { CHECK(handle.uncancel() == 0); });
    auto const ended = co_await aio::as_result(handle);
    CHECK(ended.cancelled());
  });
}

TEST_CASE("use_awaitable: a result that a cancellation comes too late for is delivered, and the next wait throws") {
  aio::testing::run([]() -> aio::task<> {
    aio_test::trace log;
    auto& context = aio::get_running_loop().context();
    auto main = [&]() -> aio::task<> {
      int const n = co_await complete_with<aio::error_code, int>(context, aio::error_code(), 7);
      log("got " + std::to_string(n));
      try {
        co_await aio::sleep_for(1h);
      } catch (aio::cancelled_error const& e) {
        log("cancelled " + std::string(e.message()));
        throw;
      }
    };
    auto handle = aio::create_task(main);
    // Asio runs both in one go: the completion, then this, before the task resumes.
    aio::get_running_loop().call_soon([&] { asio::post(context, [&] { handle.cancel("late"); }); });
    auto const ended = co_await aio::as_result(handle);
    CHECK(ended.cancelled());
    CHECK(log.text() == "got 7 | cancelled late");
  });
}

TEST_CASE("use_awaitable: a task that returns right after a late cancellation keeps its value") {
  aio::testing::run([]() -> aio::task<> {
    auto& context = aio::get_running_loop().context();
    auto main = [&]() -> aio::task<int> { co_return co_await complete_with<int>(context, 7); };
    auto handle = aio::create_task(main);
    aio::get_running_loop().call_soon([&] { asio::post(context, [&] { handle.cancel(); }); });
    int const n = co_await handle;
    CHECK(n == 7);
    CHECK_FALSE(handle.cancelled());
  });
}

TEST_CASE("use_awaitable: an operation that ignores its cancellation is waited for, and its result delivered") {
  aio::testing::run([]() -> aio::task<> {
    aio_test::trace log;
    asio::steady_timer timer(co_await asio::this_coro::executor, 5ms);
    auto main = [&]() -> aio::task<> {
      int const n = co_await asio::async_initiate<aio::use_awaitable_t const, void(int)>(
          [&](auto handler) {
            timer.async_wait([handler = std::move(handler)](aio::error_code) mutable { std::move(handler)(3); });
          },
          aio::use_awaitable);
      log("got " + std::to_string(n));
      co_await aio::sleep_for(0s);
      log("not reached");
    };
    auto handle = aio::create_task(main);
    co_await aio::sleep_for(0s);
    handle.cancel();
    auto const ended = co_await aio::as_result(handle);
    CHECK(ended.cancelled());
    CHECK(log.text() == "got 3");
  });
}

TEST_CASE("use_awaitable: a loop of operations that are always ready can be cancelled") {
  aio::testing::run([]() -> aio::task<> {
    int rounds = 0;
    auto main = [&]() -> aio::task<> {
      auto executor = co_await asio::this_coro::executor;
      for (;; ++rounds) co_await asio::post(executor, aio::use_awaitable);
    };
    auto handle = aio::create_task(main);
    while (rounds < 3) co_await aio::sleep_for(0s);
    handle.cancel();
    auto const ended = co_await aio::as_result(handle);
    CHECK(ended.cancelled());
  });
}

TEST_CASE("use_awaitable: a loop of reads that are always ready can be cancelled, and loses nothing") {
  aio::testing::run([]() -> aio::task<> {
    auto [client, server] = co_await connect();
    std::size_t got = 0, sent = 0;
    auto read = [&, &from = server]() -> aio::task<> {
      std::array<char, 64> buffer{};
      for (;;) got += co_await from.async_read_some(asio::buffer(buffer), aio::use_awaitable);
    };
    std::string const data(4096, 'x');
    sent += co_await client.async_write_some(asio::buffer(data), aio::use_awaitable);
    auto handle = aio::create_task(read);
    while (got < 256) co_await aio::sleep_for(0s);
    handle.cancel();
    auto const ended = co_await aio::as_result(handle);
    CHECK(ended.cancelled());
    client.close();
    std::string rest(sent, ' ');
    auto const [error, left] =
        co_await asio::async_read(server, asio::buffer(rest), adapters::as_tuple(aio::use_awaitable));
    CHECK(got + left == sent);
  });
}

TEST_CASE("use_awaitable: wait_for limits an operation") {
  aio::testing::run([]() -> aio::task<> {
    asio::steady_timer timer(co_await asio::this_coro::executor, 1h);
    auto const late = co_await aio::as_result(aio::wait_for(timer.async_wait(aio::use_awaitable), 2ms));
    CHECK_THROWS_AS(late.rethrow(), aio::timeout_error);
    timer.expires_after(1ms);
    co_await aio::wait_for(timer.async_wait(aio::use_awaitable), 1h);
  });
}

// ---- sockets, as asyncio's sock_connect() and its like

namespace {

/// Sends until the system takes no more: how much that was.
std::size_t fill(tcp::socket& to) {
  to.non_blocking(true);
  std::string const spaces(8192, ' ');
  std::size_t count = 0;
  for (std::size_t size = spaces.size(); size > 0; size /= 2) {
    aio::error_code error;
    while (!error) count += to.write_some(asio::buffer(spaces.data(), size), error);
  }
  return count;
}

aio::task<> write_all(tcp::socket& to, std::string_view what) {
  co_await asio::async_write(to, asio::buffer(what), aio::use_awaitable);
}
aio::task<std::string> read_some(tcp::socket& from) {
  std::string got(1024, ' ');
  std::size_t const size = co_await from.async_read_some(asio::buffer(got), aio::use_awaitable);
  got.resize(size);
  co_return got;
}
/// All up to the end.
aio::task<std::string> read_all(tcp::socket& from) {
  std::string got;
  auto const [error, size] = co_await asio::async_read(from, asio::dynamic_buffer(got),
                                                       adapters::as_tuple(aio::use_awaitable));
  CHECK(error == asio::error::eof);
  CHECK(size == got.size());
  co_return got;
}

}  // namespace

TEST_CASE("use_awaitable: a receive that begins beside one that is being cancelled gets what comes") {
  for (int hops = 0; hops < 3; ++hops) {
    aio::testing::run([hops]() -> aio::task<> {
      auto [client, server] = co_await connect();
      auto const first = aio::create_task(read_some(server));
      for (int i = 0; i < hops; ++i) co_await aio::sleep_for(0s);
      first.cancel();
      auto const sends = aio::create_task(write_all(client, "hello"));
      std::string const got = co_await read_some(server);
      CHECK(got == "hello");
      auto const ended = co_await aio::as_result(first);
      CHECK(ended.cancelled());
      co_await sends;
    });
  }
}

TEST_CASE("use_awaitable: a write beside one that is being cancelled is whole, as is the other, or not sent at all") {
  aio::testing::run([]() -> aio::task<> {
    auto [client, server] = co_await connect();
    std::size_t const filled = fill(client);
    auto const first = aio::create_task(write_all(client, "hello"));
    co_await aio::sleep_for(0s);
    first.cancel();
    auto const reads = aio::create_task(read_all(server));
    co_await write_all(client, "world");
    client.shutdown(tcp::socket::shutdown_send);
    std::string const got = co_await reads;
    auto const ended = co_await aio::as_result(first);
    CHECK(got.substr(0, filled).find_first_not_of(' ') == std::string::npos);
    CHECK(got.substr(filled) == (ended.cancelled() ? "world" : "helloworld"));
  });
}

TEST_CASE("use_awaitable: connecting can be cancelled wherever it is, and tried again") {
  for (int hops = 0; hops < 5; ++hops) {
    aio::testing::run([hops]() -> aio::task<> {
      auto executor = co_await asio::this_coro::executor;
      tcp::acceptor acceptor(executor, {asio::ip::address_v4::loopback(), 0});
      tcp::socket socket(executor);
      auto const to = [&]() -> aio::task<> {
        co_await socket.async_connect(acceptor.local_endpoint(), aio::use_awaitable);
      };
      auto const connecting = aio::create_task(to);
      for (int i = 0; i < hops; ++i) co_await aio::sleep_for(0s);
      connecting.cancel();
      auto const ended = co_await aio::as_result(connecting);
      CHECK((ended.cancelled() || ended.has_value()));
      socket.close();
      co_await to();
      CHECK(socket.remote_endpoint() == acceptor.local_endpoint());
    });
  }
}

TEST_CASE("use_awaitable: a refused connection is an error, and the socket is good for another") {
  aio::testing::run([]() -> aio::task<> {
    auto executor = co_await asio::this_coro::executor;
    tcp::acceptor acceptor(executor, {asio::ip::address_v4::loopback(), 0});
    auto const where = acceptor.local_endpoint();
    acceptor.close();
    tcp::socket socket(executor);
    auto const [error] = co_await socket.async_connect(where, adapters::as_tuple(aio::use_awaitable));
    CHECK(error == refused);
    socket.close();
    tcp::acceptor other(executor, {asio::ip::address_v4::loopback(), 0});
    co_await socket.async_connect(other.local_endpoint(), aio::use_awaitable);
  });
}

TEST_CASE("use_awaitable: an accept that was cancelled can be repeated, and nobody is accepted behind the end") {
  aio::testing::run([]() -> aio::task<> {
    auto executor = co_await asio::this_coro::executor;
    tcp::acceptor acceptor(executor, {asio::ip::address_v4::loopback(), 0});
    auto const where = acceptor.local_endpoint();
    auto const accept = [&]() -> aio::task<tcp::socket> {
      co_return co_await acceptor.async_accept(aio::use_awaitable);
    };
    for (int hops = 0; hops < 3; ++hops) {
      auto waiting = aio::create_task(accept);
      for (int i = 0; i < hops; ++i) co_await aio::sleep_for(0s);
      waiting.cancel();
      auto const ended = co_await aio::as_result(std::move(waiting));
      CHECK(ended.cancelled());
    }
    tcp::socket client(executor);
    co_await client.async_connect(where, aio::use_awaitable);
    tcp::socket server = co_await accept();
    CHECK(server.remote_endpoint() == client.local_endpoint());
    auto const reads = aio::create_task(read_some(server));
    co_await aio::sleep_for(0s);  // the loop is not held by who waits for it
    co_await write_all(client, "x");
    std::string const got = co_await reads;
    CHECK(got == "x");

    acceptor.close();
    tcp::socket late(executor);
    auto const [error] = co_await late.async_connect(where, adapters::as_tuple(aio::use_awaitable));
    CHECK(error == refused);
  });
}

TEST_CASE("use_awaitable: much goes both ways at once") {
  aio::testing::run([]() -> aio::task<> {
    auto [client, server] = co_await connect();
    std::string sent(std::size_t{10} << 20, ' ');
    for (std::size_t i = 0; i < sent.size(); ++i) sent[i] = static_cast<char>('0' + i % 10);
    auto const echoes = aio::create_task([](tcp::socket& with) -> aio::task<> {
      std::vector<char> block(65536);
      while (true) {
        auto const [error, size] = co_await with.async_read_some(asio::buffer(block),
                                                                 adapters::as_tuple(aio::use_awaitable));
        if (error) break;
        co_await asio::async_write(with, asio::buffer(block.data(), size), aio::use_awaitable);
      }
      with.shutdown(tcp::socket::shutdown_send);
    }(server));
    auto const writes = aio::create_task([](tcp::socket& to, std::string const& what) -> aio::task<> {
      co_await write_all(to, what);
      to.shutdown(tcp::socket::shutdown_send);
    }(client, sent));
    std::string const got = co_await read_all(client);
    CHECK(got.size() == sent.size());
    CHECK((got == sent));
    co_await writes;
    co_await echoes;
  });
}

#if defined(__unix__) || defined(__APPLE__)
TEST_CASE("use_awaitable: connects, accepts, writes and reads over Unix sockets") {
  using local = asio::local::stream_protocol;
  aio_test::temporary_folder const folder;
  local::endpoint const where((folder / "socket").string());
  aio::testing::run([&]() -> aio::task<> {
    auto executor = co_await asio::this_coro::executor;
    local::socket client(executor);
    auto const [missing] = co_await client.async_connect(where, adapters::as_tuple(aio::use_awaitable));
    CHECK(missing.value() == ENOENT);
    local::acceptor acceptor(executor, where);
    client.close();
    co_await client.async_connect(where, aio::use_awaitable);
    local::socket server = co_await acceptor.async_accept(aio::use_awaitable);
    std::string const question = "GET / HTTP/1.0\r\n\r\n";
    co_await asio::async_write(client, asio::buffer(question), aio::use_awaitable);
    std::string got(question.size(), ' ');
    co_await asio::async_read(server, asio::buffer(got), aio::use_awaitable);
    CHECK(got == question);
  });
}
#endif

// ---- other contexts

namespace {

/// An io_context with a thread of its own.
class other_context {
 public:
  ~other_context() {
    guard_.reset();
    thread_.join();
  }
  asio::io_context context;

 private:
  asio::executor_work_guard<asio::io_context::executor_type> guard_{context.get_executor()};
  std::thread thread_{[this] { context.run(); }};
};

}  // namespace

TEST_CASE("use_awaitable: an operation of another context resumes the task on the loop's thread") {
  other_context other;
  aio::run([&]() -> aio::task<> {
    auto const here = std::this_thread::get_id();
    asio::steady_timer timer(other.context, 1ms);
    co_await timer.async_wait(aio::use_awaitable);
    CHECK(std::this_thread::get_id() == here);
    for (int i = 0; i < 100; ++i) co_await asio::post(other.context, aio::use_awaitable);
    CHECK(std::this_thread::get_id() == here);
    auto const [error] = co_await timer.async_wait(adapters::as_tuple(aio::use_awaitable));
    CHECK_FALSE(error);
  });
}

TEST_CASE("use_awaitable: an operation that completes on a thread of its own is asked to stop, and waited for") {
  // Such an operation names no executor, so it counts as one of the loop's.
  aio::run([]() -> aio::task<> {
    for (bool const aborts : {false, true}) {
      aio_test::trace log;
      std::thread helper;
      auto main = [&]() -> aio::task<> {
        int const n = co_await asio::async_initiate<aio::use_awaitable_t const, void(aio::error_code, int)>(
            [&](auto handler) {
              auto slot = asio::get_associated_cancellation_slot(handler);
              slot.assign([&, handler = std::make_shared<decltype(handler)>(std::move(handler))](auto) {
                log("asked");
                helper = std::thread([=] {
                  std::move (*handler)(aborts ? asio::error::make_error_code(asio::error::operation_aborted)
                                              : aio::error_code(),
                                       3);
                });
              });
            },
            aio::use_awaitable);
        log("got " + std::to_string(n));
        co_await aio::sleep_for(1h);
      };
      auto handle = aio::create_task(main);
      co_await aio::sleep_for(0s);
      handle.cancel("enough");
      auto const ended = co_await aio::as_result(handle);
      helper.join();
      CHECK(log.text() == (aborts ? "asked" : "asked | got 3"));
      try {
        ended.rethrow();
      } catch (aio::cancelled_error const& e) {
        log(std::string(e.message()));
      }
      CHECK(log.text() == (aborts ? "asked | enough" : "asked | got 3 | enough"));
    }
  });
}

// ---- Asio's own coroutines

namespace {

asio::awaitable<int> asio_add(int a, int b) {
  asio::steady_timer timer(co_await asio::this_coro::executor, 1ms);
  co_await timer.async_wait(asio::use_awaitable);
  co_return a + b;
}
asio::awaitable<void> asio_fail() {
  asio::steady_timer timer(co_await asio::this_coro::executor, 1ms);
  co_await timer.async_wait(asio::use_awaitable);
  throw std::runtime_error("in Asio's coroutine");
}
asio::awaitable<void> asio_sleep() {
  asio::steady_timer timer(co_await asio::this_coro::executor, 1h);
  co_await timer.async_wait(asio::use_awaitable);
}

}  // namespace

TEST_CASE("use_awaitable: a coroutine of Asio is awaited through co_spawn") {
  aio::testing::run([]() -> aio::task<> {
    auto executor = co_await asio::this_coro::executor;
    int const n = co_await asio::co_spawn(executor, asio_add(1, 2), aio::use_awaitable);
    CHECK(n == 3);
    auto const failed = co_await aio::as_result(asio::co_spawn(executor, asio_fail(), aio::use_awaitable));
    CHECK_THROWS_WITH(failed.rethrow(), "in Asio's coroutine");
  });
}

TEST_CASE("use_awaitable: a coroutine of Asio is cancelled with the task that awaits it") {
  aio::testing::run([]() -> aio::task<> {
    auto main = []() -> aio::task<> {
      co_await asio::co_spawn(co_await asio::this_coro::executor, asio_sleep(), aio::use_awaitable);
    };
    auto handle = aio::create_task(main);
    co_await aio::sleep_for(1ms);
    handle.cancel();
    auto const ended = co_await aio::as_result(handle);
    CHECK(ended.cancelled());
  });
}

TEST_CASE("use_awaitable: a coroutine of Asio in another context resumes the task on the loop's thread") {
  other_context other;
  aio::run([&]() -> aio::task<> {
    auto const here = std::this_thread::get_id();
    int const n = co_await asio::co_spawn(other.context, asio_add(20, 22), aio::use_awaitable);
    CHECK(n == 42);
    CHECK(std::this_thread::get_id() == here);
  });
}
