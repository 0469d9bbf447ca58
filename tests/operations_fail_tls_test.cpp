// SPDX-License-Identifier: MIT

// TLS whose connection fails, in each piece that it receives or sends: nothing is left open, nobody waits for ever, and
// both ends hear of it. Part of aio_tls_tests.
//
// Only where there is OpenSSL: CMakeLists.txt knows.
#if __has_include(<openssl/ssl.h>)
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <stdexcept>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include "aio/aio.hpp"
#include "aio/testing/fail_each_operation.hpp"
#include "aio/tls.hpp"
#include "support/catch.hpp"
#include "support/certificates.hpp"

using namespace std::chrono_literals;
using aio::testing::fail_each_operation;
using aio::testing::failed_operation;
using aio::testing::operation_options;

namespace {

/// What the other end of one that failed hears of: also what TLS says of a connection that was cut.
bool lost(std::exception_ptr const& error) {
  if (aio::testing::lost_connection(error)) return true;
  try {
    std::rethrow_exception(error);
  } catch (aio::exception_group const& group) {
    return lost(group.exceptions().front());
  } catch (aio::system_error const& e) {
    return e.code() == aio::tls_errc::stream_truncated;
  } catch (...) {
    return false;
  }
}

aio::task<> echo(aio::stream_reader reader, aio::stream_writer writer) {
  while (auto line = co_await reader.next_line()) co_await writer.send(std::string(*line) + "\n");
}

}  // namespace

TEST_CASE("tls: operations fail: a server and its client, from the handshake to the end") {
  std::size_t connections = 0;
  auto const client = aio_test::client_of();
  auto const context = aio_test::server_of();
  auto const test = [&]() -> aio::task<> {
    auto server = co_await aio::start_server(echo, "127.0.0.1", 0, aio::server_options().tls(context));
    auto const asks = [&]() -> aio::task<std::string> {
      auto const options = aio::connect_options().tls(client).server_hostname("localhost");
      auto [reader, writer] = co_await aio::open_connection("127.0.0.1", server.sockets().front().port(), options);
      void* const fails = writer.get_transport()->extension(&aio::testing::detail::failing_transport::key);
      CHECK(fails != nullptr);
      CHECK(fails != writer.get_transport());  // but what is below TLS, which passes the question on
      co_await writer.send("a\n");
      std::string answer = co_await reader.readuntil();
      writer.close();
      co_await writer.wait_closed();
      co_return answer;
    };
    auto const asked = co_await aio::as_result(asks());
    co_await server.shutdown(1s);
    connections = server.connections();
    if (!asked.has_value()) asked.rethrow();
    if (asked.value() != "a\n") throw std::logic_error("another answer");
  };
  auto const none_open = [&] {
    if (connections != 0) throw std::logic_error("connections are open");
  };
  auto const options = operation_options().may_end(&lost).invariant(none_open);
  auto const ended = fail_each_operation(options, test);
  std::size_t handshake = 0;
  std::size_t after = 0;
  for (auto const& each : ended) {
    CAPTURE(each.text());
    if (each.what != "send" && each.what != "receive") continue;
    ++(each.outcome.find("handshake") != each.outcome.npos ? handshake : after);
  }
  CHECK(handshake >= 2);
  CHECK(after >= 4);
}
#endif
