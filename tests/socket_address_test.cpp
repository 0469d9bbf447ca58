// SPDX-License-Identifier: MIT

#include "aio/socket_address.hpp"

#include <compare>
#include <cstring>
#include <map>
#include <netinet/in.h>
#include <optional>
#include <stdexcept>
#include <string>
#include <sys/socket.h>
#include <sys/un.h>
#include <system_error>
#include <type_traits>
#include <unordered_set>

#include <asio/generic/datagram_protocol.hpp>
#include <asio/generic/stream_protocol.hpp>
#include <asio/ip/tcp.hpp>
#include <asio/ip/udp.hpp>
#include <asio/local/datagram_protocol.hpp>
#include <asio/local/stream_protocol.hpp>

#include "support/catch.hpp"

using namespace std::string_literals;
using aio::socket_address;

namespace {

socket_address v4(char const* host, std::uint16_t port) {
  return asio::ip::tcp::endpoint(asio::ip::make_address(host), port);
}

}  // namespace

TEST_CASE("socket_address: of endpoints of Asio, with their host, port and text") {
  socket_address const four = asio::ip::tcp::endpoint(asio::ip::make_address("127.0.0.1"), 80);
  CHECK(four.family() == AF_INET);
  CHECK((four.is_v4() && four.is_ip() && !four.is_v6() && !four.is_unix() && !four.empty()));
  CHECK(four.host() == "127.0.0.1");
  CHECK(four.port() == 80);
  CHECK(four.path().empty());
  CHECK(four.to_string() == "127.0.0.1:80");
  CHECK(four.size() == sizeof(::sockaddr_in));

  socket_address const six = asio::ip::udp::endpoint(asio::ip::make_address("::1"), 65535);
  CHECK(six.family() == AF_INET6);
  CHECK((six.is_v6() && six.is_ip() && !six.is_v4()));
  CHECK(six.host() == "::1");
  CHECK(six.port() == 65535);
  CHECK(six.to_string() == "[::1]:65535");
  CHECK(six.ip() == asio::ip::address_v6::loopback());

  // A zone without a name is given by its number.
  socket_address const zone(asio::ip::address_v6({0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1}, 4711), 7);
  CHECK(zone.to_string() == "[fe80::1%4711]:7");
  CHECK(socket_address(zone.ip(), 7) == zone);
}

TEST_CASE("socket_address: none by default, and of what is too short to be one") {
  socket_address const none;
  CHECK(none.empty());
  CHECK(none.family() == AF_UNSPEC);
  CHECK(none.size() == 0);
  CHECK((none.to_string().empty() && none.host().empty() && none.path().empty() && none.port() == 0));
  CHECK_FALSE((none.is_ip() || none.is_unix()));
  CHECK(socket_address(nullptr, 0) == none);
  ::sockaddr_in cut{};
  cut.sin_family = AF_INET;
  CHECK(socket_address(reinterpret_cast<::sockaddr*>(&cut), 8) == none);
  STATIC_REQUIRE(std::is_trivially_copyable_v<socket_address>);
  STATIC_REQUIRE(std::is_nothrow_default_constructible_v<socket_address>);
}

TEST_CASE("socket_address: of Unix sockets, with a path, an abstract name, and without a name") {
  socket_address const file = asio::local::stream_protocol::endpoint("/run/x.sock");
  CHECK((file.is_unix() && !file.is_ip() && !file.empty()));
  CHECK(file.path() == "/run/x.sock");
  CHECK(file.to_string() == "/run/x.sock");
  CHECK((file.host().empty() && file.port() == 0));
  CHECK(file == socket_address::from_path("/run/x.sock"));
  CHECK(file.size() == 2 + 11);

  // The system counts the terminator, or all the bytes that there is room for.
  ::sockaddr_un raw{};
  raw.sun_family = AF_UNIX;
  std::strcpy(raw.sun_path, "/run/x.sock");
  CHECK(socket_address(reinterpret_cast<::sockaddr*>(&raw), 2 + 12) == file);
  CHECK(socket_address(reinterpret_cast<::sockaddr*>(&raw), sizeof raw) == file);

  socket_address const unnamed = asio::local::datagram_protocol::endpoint();
  CHECK((unnamed.is_unix() && !unnamed.empty()));
  CHECK((unnamed.path().empty() && unnamed.to_string().empty()));
  CHECK(unnamed != socket_address());
  CHECK(unnamed == socket_address::from_path(""));
  CHECK(unnamed == socket_address::from_path({}));
#if defined(__linux__)
  auto const abstract = socket_address::from_path("\0abstract"s);
  CHECK(abstract.path() == "\0abstract"s);
  CHECK(abstract.to_string() == "@abstract");
  CHECK(abstract == socket_address(asio::local::stream_protocol::endpoint("\0abstract"s)));
  CHECK(socket_address::from_path("\0a\0b"s).path() == "\0a\0b"s);
#endif
}

TEST_CASE("socket_address: a path that is too long is refused, and one with a NUL byte in it") {
  std::size_t const room = sizeof(::sockaddr_un::sun_path);
  CHECK(socket_address::from_path(std::string(room - 1, 'x')).path() == std::string(room - 1, 'x'));
  try {
    (void)socket_address::from_path(std::string(room, 'x'));
    FAIL("was not refused");
  } catch (aio::system_error const& e) {
    CHECK(e.code() == std::errc::filename_too_long);
    CHECK(std::string(e.what()).find(std::string(room, 'x')) != std::string::npos);
  }
  CHECK_THROWS_AS(socket_address::from_path("/run\0/x"s), std::invalid_argument);
}

TEST_CASE("socket_address: of another family, its bytes") {
  struct {
    unsigned short family = 77;
    char bytes[10] = "123456789";
  } raw;
  socket_address const other = asio::generic::datagram_protocol::endpoint(&raw, sizeof raw);
  CHECK(other.family() == 77);
  CHECK(other.size() == 12);
  CHECK(std::memcmp(other.data(), &raw, sizeof raw) == 0);
  CHECK(other.to_string() == "family 77, 12 bytes");
  CHECK(other == socket_address(reinterpret_cast<::sockaddr*>(&raw), sizeof raw));
  char more[200] = {};
  CHECK_THROWS_AS(socket_address(reinterpret_cast<::sockaddr*>(more), sizeof more), std::length_error);
}

TEST_CASE("socket_address: to an endpoint of Asio and back, if it is of that family") {
  socket_address const four = v4("10.1.2.3", 4711);
  CHECK(four.to<asio::ip::udp::endpoint>() == asio::ip::udp::endpoint(asio::ip::make_address("10.1.2.3"), 4711));
  CHECK(socket_address(four.to<asio::generic::stream_protocol::endpoint>()) == four);
  auto const file = socket_address::from_path("x");
  CHECK(file.to<asio::local::stream_protocol::endpoint>().path() == "x");
  CHECK_THROWS_WITH(file.to<asio::ip::tcp::endpoint>(),
                    "this address (x) is not of the family of the endpoint that it was to become");
  CHECK_THROWS_AS(four.to<asio::local::stream_protocol::endpoint>(), aio::usage_error);
  CHECK_THROWS_AS(socket_address().to<asio::ip::tcp::endpoint>(), aio::usage_error);
}

TEST_CASE("socket_address: equal ones are equal whatever stands in their padding") {
  ::sockaddr_in raw;
  std::memset(&raw, 0xAA, sizeof raw);
  auto const plain = v4("1.2.3.4", 5);
  std::memcpy(&raw, plain.data(), 8);  // without what fills it up
  socket_address const padded(reinterpret_cast<::sockaddr*>(&raw), sizeof raw);
  CHECK(padded == plain);
  CHECK(padded.hash() == plain.hash());
  CHECK((padded <=> plain) == std::strong_ordering::equal);
  CHECK(plain.with_port(6) == v4("1.2.3.4", 6));
}

TEST_CASE("socket_address: is ordered by host and then by port, and is a key") {
  CHECK(v4("1.2.3.4", 9) < v4("1.2.3.5", 1));
  CHECK(v4("1.2.3.4", 255) < v4("1.2.3.4", 256));
  CHECK(v4("9.0.0.1", 1) < v4("10.0.0.1", 1));
  CHECK(v4("200.0.0.1", 1) < v4("::1", 1));
  CHECK(v4("::1", 2) < v4("::2", 1));
  CHECK(v4("::1", 1) < v4("::1", 2));
  CHECK(socket_address() < v4("0.0.0.0", 0));
  CHECK(socket_address::from_path("a") < socket_address::from_path("ab"));
  CHECK(socket_address::from_path("ab") < socket_address::from_path("b"));
  std::unordered_set<socket_address> const set{v4("1.2.3.4", 5), v4("1.2.3.4", 5), v4("1.2.3.4", 6)};
  CHECK(set.size() == 2);
  std::map<socket_address, int> counts;
  ++counts[v4("::1", 80)];
  ++counts[v4("::1", 80)];
  CHECK(counts.at(v4("::1", 80)) == 2);
}

TEST_CASE("socket_address: of a numeric host, and of nothing else") {
  CHECK(socket_address::from_numeric("127.0.0.1", 80) == v4("127.0.0.1", 80));
  CHECK(socket_address::from_numeric("::ffff:1.2.3.4", 80)->to_string() == "[::ffff:1.2.3.4]:80");
  for (auto const& other : {"localhost"s, ""s, "fe80::1%lo"s, "127.1"s, "1.2.3.4 "s, "1.2.3.4\0x"s, "[::1]"s,
                            "256.1.1.1"s, "1.2.3.4:80"s, std::string(100, '1')}) {
    INFO(other);
    CHECK(socket_address::from_numeric(other, 80) == std::nullopt);
  }
}
