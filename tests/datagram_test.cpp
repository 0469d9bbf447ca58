// SPDX-License-Identifier: MIT

#include "aio/datagram.hpp"

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <fcntl.h>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <system_error>
#include <type_traits>
#include <unistd.h>
#include <utility>
#include <vector>

#include "aio/as_result.hpp"
#include "aio/event_loop.hpp"
#include "aio/gather.hpp"
#include "aio/run.hpp"
#include "aio/sleep.hpp"
#include "aio/task_handle.hpp"
#include "aio/testing/virtual_clock.hpp"
#include "aio/timeout.hpp"
#include "support/catch.hpp"
#include "support/order.hpp"
#include "support/reports.hpp"
#if defined(__unix__) || defined(__APPLE__)
#include "support/temporary.hpp"
#endif
#include "support/trace.hpp"

using namespace std::chrono_literals;
using namespace std::string_literals;
using aio::datagram_options;
using aio::datagram_socket;
using aio::socket_address;
using aio_test::ContainsSubstring;
using aio_test::hops;
using aio_test::said;
using aio_test::trace;

namespace {

/// A socket on a port of the loopback address that is free.
aio::task<datagram_socket> local() { return aio::open_datagram(datagram_options().local_address("127.0.0.1", 0)); }
/// One that is connected to another.
aio::task<datagram_socket> connected_to(socket_address peer) {
  return aio::open_datagram(datagram_options().remote_address(peer));
}

#if defined(__unix__) || defined(__APPLE__)
/// For Unix sockets, which go with it.
class folder : public aio_test::temporary_folder {
 public:
  [[nodiscard]] socket_address operator/(char const* name) const {
    return socket_address::from_path((path() / name).string());
  }
};
#endif

template <class T>
aio::error_code code_of(aio::result<T> const& outcome) {
  auto const* const error = outcome.template error<aio::system_error>();
  return error ? error->code() : aio::error_code();
}

}  // namespace

TEST_CASE("datagram: is sent to an address and received with its source, an empty one too") {
  aio::testing::run([]() -> aio::task<> {
    auto a = co_await local();
    auto b = co_await local();
    CHECK(a.sockname().host() == "127.0.0.1");
    CHECK(a.sockname().port() != 0);
    CHECK(a.peername().empty());
    co_await a.sendto("hello", b.sockname());
    co_await a.sendto("", b.sockname());
    co_await a.sendto(std::string(2000, 'x'), b.sockname());
    auto const first = co_await b.receive();
    CHECK(first.data == "hello");
    CHECK(first.from == a.sockname());
    auto const second = co_await b.receive();
    CHECK(second.data.empty());
    CHECK(second.from == a.sockname());
    auto const third = co_await b.receive();
    CHECK(third.data == std::string(2000, 'x'));
  });
}

TEST_CASE("datagram: over IPv6") {
  aio::testing::run([]() -> aio::task<> {
    auto opened = co_await aio::as_result(aio::open_datagram(datagram_options().local_address("::1", 0)));
    if (!opened.has_value()) co_return;  // a system without it
    datagram_socket a = std::move(opened).value();
    co_await a.sendto("six", a.sockname());
    auto const came = co_await a.receive();
    CHECK(came.data == "six");
    CHECK(came.from == a.sockname());
    CHECK(came.from.is_v6());
  });
}

TEST_CASE("datagram: one that is there is received without suspending, else the task waits") {
  aio::testing::run([]() -> aio::task<> {
    trace log;
    auto a = co_await local();
    auto const waits = aio::create_task([&]() -> aio::task<> {
      auto const came = co_await a.receive();
      log("waited for " + came.data);
    });
    co_await hops(3);
    co_await a.sendto("1", a.sockname());
    log("sent");
    co_await waits;
    co_await a.sendto("2", a.sockname());
    auto const other = aio::create_task([&]() -> aio::task<> {
      log("other");
      co_return;
    });
    auto const came = co_await a.receive();
    log("got " + came.data);
    co_await other;
    CHECK(log.text() == "sent | waited for 1 | got 2 | other");
  });
}

TEST_CASE("datagram: a socket with a remote address sends to it and receives from it alone") {
  aio::testing::run([]() -> aio::task<> {
    auto server = co_await local();
    auto stranger = co_await local();
    auto client = co_await aio::open_datagram(datagram_options().remote_address("127.0.0.1", server.sockname().port()));
    CHECK(client.peername() == server.sockname());
    co_await client.send("1");
    co_await client.sendto("2", server.sockname());
    auto const refused = co_await aio::as_result(client.sendto("3", stranger.sockname()));
    CHECK(said(refused) == "aio::usage_error: datagram_socket::sendto: the socket sends to " +
                               server.sockname().to_string() + " only, not to " + stranger.sockname().to_string());
    co_await stranger.sendto("no", client.sockname());
    auto const one = co_await server.receive();
    auto const two = co_await server.receive();
    CHECK(one.data + two.data == "12");
    co_await server.sendto("yes", one.from);
    auto const answer = co_await client.receive();
    CHECK(answer.data == "yes");
  });
}

TEST_CASE("datagram: without an address to send to, or to be opened with, is a usage_error") {
  aio::testing::run([]() -> aio::task<> {
    auto a = co_await local();
    CHECK(said(co_await aio::as_result(a.send("x"))) ==
          "aio::usage_error: datagram_socket::send: there is no address to send to");
    CHECK(said(co_await aio::as_result(a.sendto("x", {}))) ==
          "aio::usage_error: datagram_socket::sendto: there is no address to send to");
    CHECK(said(co_await aio::as_result(aio::open_datagram({}))) ==
          "aio::usage_error: open_datagram: give it a local_address(), a remote_address() or a family()");
    auto by_family = co_await aio::open_datagram(datagram_options().family(AF_INET));
    co_await by_family.sendto("family", a.sockname());
    auto const came = co_await a.receive();
    CHECK(came.data == "family");
    CHECK(came.from.port() == by_family.sockname().port());
  });
}

TEST_CASE("datagram: addresses of different families do not fit, and errors name the address") {
  aio::testing::run([]() -> aio::task<> {
    auto const mixed = co_await aio::as_result(
        aio::open_datagram(datagram_options().local_address("127.0.0.1", 0).remote_address("::1", 9)));
    CHECK(code_of(mixed) == std::errc::address_family_not_supported);
    auto const other = co_await aio::as_result(aio::open_datagram(
        datagram_options().family(AF_INET6).local_address(socket_address::from_numeric("127.0.0.1", 0).value())));
    CHECK(code_of(other) == std::errc::address_family_not_supported);
    auto a = co_await local();
    auto const taken = co_await aio::as_result(aio::open_datagram(datagram_options().local_address(a.sockname())));
    CHECK(code_of(taken) == std::errc::address_in_use);
    CHECK_THAT(said(taken), ContainsSubstring("open_datagram: bind to " + a.sockname().to_string()));
    auto const unknown = co_await aio::as_result(
        aio::open_datagram(datagram_options().local_address("198.51.100.7", 0)));
    CHECK(code_of(unknown) == std::errc::address_not_available);
  });
}

TEST_CASE("datagram: one that is too long is an error of the caller's, and the socket is good for others") {
  aio::testing::run([]() -> aio::task<> {
    auto a = co_await local();
    auto const outcome = co_await aio::as_result(a.sendto(std::string(70'000, 'x'), a.sockname()));
    CHECK(code_of(outcome) == std::errc::message_size);
    CHECK_THAT(said(outcome), ContainsSubstring("datagram_socket::sendto, " + a.sockname().to_string()));
    co_await a.sendto(std::string(65'507, 'x'), a.sockname());  // the longest
    auto const came = co_await a.receive();
    CHECK(came.data.size() == 65'507);
  });
}

#if defined(__linux__)
TEST_CASE("datagram: a refusal by the peer is an error of the next call") {
  aio::testing::run([]() -> aio::task<> {
    auto gone = co_await local();
    auto client = co_await connected_to(gone.sockname());
    gone.close();
    co_await client.send("anybody?");
    auto const answer = co_await aio::as_result(aio::wait_for(client.receive(), 60s));
    CHECK(code_of(answer) == std::errc::connection_refused);
    CHECK_THAT(said(answer), ContainsSubstring("datagram_socket::receive, " + client.peername().to_string()));
    // It is told once, and the socket can be used.
    auto again = co_await aio::open_datagram(datagram_options().local_address(client.peername()));
    co_await client.send("now");
    auto const came = co_await again.receive();
    CHECK(came.data == "now");
  });
}
#endif

TEST_CASE("datagram: into memory of the caller, cut off where it is too small") {
  aio::testing::run([]() -> aio::task<> {
    auto a = co_await local();
    char memory[4];
    co_await a.sendto("abc", a.sockname());
    co_await a.sendto("abcdef", a.sockname());
    co_await a.sendto("", a.sockname());
    auto const fits = co_await a.receive_into(memory);
    CHECK(fits.size == 3);
    CHECK(fits.from == a.sockname());
    CHECK_FALSE(fits.truncated);
    auto const cut = co_await a.receive_into(memory);
    CHECK(std::string(memory, cut.size) == "abcd");
    CHECK(cut.truncated);
    auto const none = co_await a.receive_into(memory);
    CHECK((none.size == 0 && !none.truncated));
  });
}

TEST_CASE("datagram: a second task that would receive is refused, and the first goes on") {
  aio::testing::run([]() -> aio::task<> {
    auto a = co_await local();
    auto const first = aio::create_task(a.receive());
    co_await hops(2);
    char memory[4];
    CHECK(said(co_await aio::as_result(a.receive())) ==
          "aio::usage_error: datagram_socket::receive: another task waits to receive from this socket");
    CHECK(said(co_await aio::as_result(a.receive_into(memory))) ==
          "aio::usage_error: datagram_socket::receive_into: another task waits to receive from this socket");
    co_await a.sendto("x", a.sockname());
    auto const came = co_await first;
    CHECK(came.data == "x");
    auto const next = aio::create_task(a.receive());
    co_await hops(2);
    next.cancel();
    co_await hops(3);
    CHECK(next.cancelled());
    co_await a.sendto("y", a.sockname());  // the next one has its turn
    auto const later = co_await a.receive();
    CHECK(later.data == "y");
  });
}

TEST_CASE("datagram: one is delivered once, whatever a cancellation does") {
  // The cancellation comes when the task waits, in the iteration in which it is woken, and after.
  for (int when = 0; when < 6; ++when) {
    INFO(when);
    aio::run([&]() -> aio::task<> {
      auto a = co_await local();
      std::vector<std::string> got;
      auto const receiver = aio::create_task([&]() -> aio::task<> {
        for (;;) {
          auto const came = co_await a.receive();
          got.push_back(came.data);
        }
      });
      co_await hops(3);
      co_await a.sendto("1", a.sockname());
      co_await hops(when);
      receiver.cancel();
      (void)co_await aio::as_result(receiver);
      co_await a.sendto("2", a.sockname());
      while (got.empty() || got.back() != "2") {
        auto const came = co_await a.receive();
        got.push_back(came.data);
      }
      CHECK(got == std::vector<std::string>{"1", "2"});
    });
  }
}

TEST_CASE("datagram: a wait that took too long may be repeated") {
  aio::testing::run([]() -> aio::task<> {
    auto a = co_await local();
    auto const none = co_await aio::as_result(aio::wait_for(a.receive(), 20ms));
    CHECK(said(none) == "aio::timeout_error: the operation timed out");
    co_await a.sendto("x", a.sockname());
    auto const came = co_await aio::wait_for(a.receive(), 60s);
    CHECK(came.data == "x");
  });
}

TEST_CASE("datagram: close wakes who waits with an error, and everything after it is refused") {
  aio::testing::run([]() -> aio::task<> {
    auto a = co_await local();
    auto const name = a.sockname();
    auto const waits = aio::create_task(a.receive());
    co_await hops(2);
    CHECK_FALSE(a.is_closing());
    a.close();
    a.close();
    CHECK(a.is_closing());
    auto const outcome = co_await aio::as_result(waits);
    CHECK(code_of(outcome) == std::errc::operation_canceled);
    CHECK_THAT(said(outcome), ContainsSubstring("datagram_socket::receive: the socket was closed"));
    CHECK(said(co_await aio::as_result(a.receive())) ==
          "aio::usage_error: datagram_socket::receive: the socket is closed");
    CHECK(said(co_await aio::as_result(a.sendto("x", name))) ==
          "aio::usage_error: datagram_socket::sendto: the socket is closed");
    CHECK(a.sockname() == name);
  });
}

TEST_CASE("datagram: a socket that goes or is moved while a task waits for it") {
  aio::testing::run([]() -> aio::task<> {
    std::optional<datagram_socket> a(co_await local());
    auto const waits = aio::create_task(a->receive());
    co_await hops(2);
    datagram_socket moved = std::move(*a);
    a.reset();
    co_await moved.sendto("still", moved.sockname());
    auto const came = co_await waits;
    CHECK(came.data == "still");
    auto const again = aio::create_task(moved.receive());
    co_await hops(2);
    moved = co_await local();
    auto const outcome = co_await aio::as_result(again);
    CHECK(code_of(outcome) == std::errc::operation_canceled);
    datagram_socket const last = std::move(moved);
    CHECK(moved.is_closing());  // NOLINT(bugprone-use-after-move): it is empty
    CHECK(moved.sockname().empty());
    CHECK(said(co_await aio::as_result(moved.receive())) ==
          "aio::usage_error: datagram_socket::receive: the socket is closed");
  });
}

TEST_CASE("datagram: the end of the loop ends who waits") {
  trace log;
  aio::run([&]() -> aio::task<> {
    auto a = std::make_shared<datagram_socket>(co_await local());
    (void)aio::create_task([&log, a]() -> aio::task<> {
      try {
        auto const came = co_await a->receive();
        log(came.data);
      } catch (aio::cancelled_error const&) {
        log("cancelled");
        throw;
      }
    });
    co_await hops(3);
  });
  CHECK(log.text() == "cancelled");
}

TEST_CASE("datagram: who receives or sends without end lets others run") {
  aio::testing::run([]() -> aio::task<> {
    auto a = co_await local();
    int turns = 0;
    auto const other = aio::create_task([&]() -> aio::task<> {
      for (;;) {
        ++turns;
        co_await aio::sleep_for(0s);
      }
    });
    for (int i = 0; i < 500; ++i) {
      co_await a.sendto("x", a.sockname());
      auto const came = co_await a.receive();
      CHECK(came.data == "x");
    }
    CHECK(turns >= 10);
    CHECK(turns <= 40);
    other.cancel();
  });
}

TEST_CASE("datagram: Unix sockets by their path, by an abstract name, and without one") {
  folder const here;
  aio::testing::run([&]() -> aio::task<> {
    auto server = co_await aio::open_datagram(datagram_options().local_address(here / "s"));
    CHECK(server.sockname() == here / "s");
    auto client = co_await aio::open_datagram(
        datagram_options().local_address(here / "c").remote_address(here / "s"));
    co_await client.send("question");
    auto const question = co_await server.receive();
    CHECK(question.from == here / "c");
    co_await server.sendto(std::string(100'000, 'x'), question.from);
    auto const answer = co_await client.receive();
    CHECK(answer.data.size() == 100'000);
    auto nameless = co_await aio::open_datagram(datagram_options().remote_address(here / "s"));
    co_await nameless.send("");
    auto const empty = co_await server.receive();
    CHECK(empty.data.empty());
    CHECK(empty.from.path().empty());
#if defined(__linux__)
    auto const name = socket_address::from_path("\0aio datagram_test "s + std::to_string(::getpid()));
    auto abstract = co_await aio::open_datagram(datagram_options().local_address(name));
    co_await server.sendto("a", name);
    auto const came = co_await abstract.receive();
    CHECK(came.data == "a");
    // The system chooses a name.
    auto chosen = co_await aio::open_datagram(datagram_options().local_address(socket_address::from_path("")));
    CHECK(chosen.sockname().path().size() > 1);
#endif
    auto const nobody = co_await aio::as_result(server.sendto("x", here / "nobody"));
    CHECK(code_of(nobody) == std::errc::no_such_file_or_directory);
  });
}

TEST_CASE("datagram: the file of a Unix socket that is gone is replaced, that of a living one and others are not") {
  folder const here;
  aio::testing::run([&]() -> aio::task<> {
    auto const open = [&](char const* name) {
      return aio::open_datagram(datagram_options().local_address(here / name));
    };
    {
      auto const first = co_await open("s");
      CHECK(code_of(co_await aio::as_result(open("s"))) == std::errc::address_in_use);
    }
    CHECK(std::filesystem::exists((here / "s").path()));
    auto const second = co_await open("s");
    CHECK(second.sockname() == here / "s");
    { (void)::close(::open((here / "file").path().c_str(), O_CREAT | O_WRONLY, 0600)); }
    CHECK(code_of(co_await aio::as_result(open("file"))) == std::errc::address_in_use);
    CHECK(std::filesystem::exists((here / "file").path()));
  });
}

TEST_CASE("datagram: sending waits while a Unix socket's peer has no room, and can be cancelled there") {
  folder const here;
  aio::testing::run([&]() -> aio::task<> {
    auto server = co_await aio::open_datagram(datagram_options().local_address(here / "s"));
    for (bool const connected : {true, false}) {
      INFO(connected);
      auto options = datagram_options().family(AF_UNIX);
      if (connected) options.remote_address(here / "s");
      auto client = co_await aio::open_datagram(options);
      int sent = 0;
      auto const sender = aio::create_task([&]() -> aio::task<> {
        for (;; ++sent) co_await client.sendto(std::to_string(sent), here / "s");
      });
      int before = -1;
      while (before != sent) {
        before = sent;
        co_await aio::sleep_for(20ms);
      }
      CHECK(sent > 0);
      sender.cancel();
      (void)co_await aio::as_result(sender);
      auto const late = aio::create_task(client.sendto("late", here / "s"));
      co_await hops(5);
      CHECK_FALSE(late.done());
      for (int i = 0; i < sent; ++i) {
        auto const came = co_await server.receive();
        CHECK(came.data == std::to_string(i));
      }
      co_await late;
      auto const last = co_await server.receive();
      CHECK(last.data == "late");
    }
  });
}

TEST_CASE("datagram: is closed in children") {
  aio::testing::run([]() -> aio::task<> {
    auto a = co_await local();
    CHECK((::fcntl(a.native_handle(), F_GETFD) & FD_CLOEXEC) != 0);
  });
}

TEST_CASE("datagram: options of the socket, and two with one port") {
  aio::testing::run([]() -> aio::task<> {
    auto a = co_await aio::open_datagram(
        datagram_options().local_address("127.0.0.1", 0).reuse_port().reuse_address().broadcast());
    auto const option = [&](int name) {
      int value = 0;
      ::socklen_t size = sizeof value;
      (void)::getsockopt(a.native_handle(), SOL_SOCKET, name, &value, &size);
      return value != 0;
    };
    CHECK((option(SO_REUSEADDR) && option(SO_REUSEPORT) && option(SO_BROADCAST)));
    auto const b = co_await aio::open_datagram(datagram_options().local_address(a.sockname()).reuse_port());
    CHECK(b.sockname() == a.sockname());
    // With broadcast() a remote address is whom it sends to; it receives from everybody.
    auto c = co_await local();
    auto caller = co_await aio::open_datagram(
        datagram_options().local_address("127.0.0.1", 0).remote_address(c.sockname()).broadcast());
    co_await caller.send("to c");
    auto const came = co_await c.receive();
    CHECK(came.data == "to c");
    auto d = co_await local();
    co_await d.sendto("from d", caller.sockname());
    auto const from_d = co_await caller.receive();
    CHECK(from_d.data == "from d");
  });
}

TEST_CASE("datagram: without descriptors opening fails, and leaves nothing behind") {
  ::rlimit before{};
  ::getrlimit(RLIMIT_NOFILE, &before);
  aio::testing::run([&]() -> aio::task<> {
    auto a = co_await local();
    ::rlimit none = before;
    none.rlim_cur = static_cast<::rlim_t>(a.native_handle()) + 1;
    std::vector<int> gaps;  // below that
    ::setrlimit(RLIMIT_NOFILE, &none);
    for (int taken = ::dup(0); taken >= 0; taken = ::dup(0)) gaps.push_back(taken);
    auto const outcome = co_await aio::as_result(local());
    ::setrlimit(RLIMIT_NOFILE, &before);
    for (int const each : gaps) ::close(each);
    CHECK(code_of(outcome) == std::errc::too_many_files_open);
    auto const next = co_await local();
    CHECK_FALSE(next.is_closing());
  });
}
