// SPDX-License-Identifier: MIT

// More than 1,024 descriptors. Where Asio waits by select(), which takes those below that only, whoever would have to
// wait for another one is told so: nothing waits for ever, asks again and again, or writes elsewhere.

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <string>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/select.h>
#include <unistd.h>

#include "aio/as_result.hpp"
#include "aio/datagram.hpp"
#include "aio/detail/system_calls.hpp"
#include "aio/event_loop.hpp"
#include "aio/future.hpp"
#include "aio/open_connection.hpp"
#include "aio/pipe.hpp"
#include "aio/process.hpp"
#include "aio/run.hpp"
#include "aio/server.hpp"
#include "aio/sleep.hpp"
#include "aio/stream.hpp"
#include "aio/task_handle.hpp"
#include "aio/timeout.hpp"
#include "aio/wait_readable.hpp"
#include "support/catch.hpp"
#include "support/descriptors.hpp"
#include "support/peers.hpp"
#include "support/reports.hpp"

using namespace std::chrono_literals;
using aio_test::connect_to;
using aio_test::descriptor;
using aio_test::listener;
using aio_test::pipe_pair;
using aio_test::reports;
using aio_test::said;
using aio_test::thrown_by;

namespace {

constexpr bool any_number = AIO_WAITS_BY_SELECT == 0;
constexpr char const* does_not_fit = "The descriptor does not fit into the select call's fd_set";

/// All numbers below 1,024 are taken in this scope.
class crowd {
 public:
  crowd() {
    ::getrlimit(RLIMIT_NOFILE, &usual_);
    ::rlimit more = usual_;
    more.rlim_cur = std::max<::rlim_t>(usual_.rlim_cur, FD_SETSIZE + 200);
    ::setrlimit(RLIMIT_NOFILE, &more);
    take();
  }
  crowd(crowd const&) = delete;
  ~crowd() {
    leave();
    ::setrlimit(RLIMIT_NOFILE, &usual_);
  }

  void take() {
    for (int next = ::dup(0); next >= 0; next = ::dup(0)) {
      taken_.emplace_back(next);
      if (next >= FD_SETSIZE) break;
    }
    REQUIRE((taken_.back().get() >= FD_SETSIZE));
  }
  void leave() noexcept { taken_.clear(); }

  static bool possible() {
    ::rlimit limit{};
    ::getrlimit(RLIMIT_NOFILE, &limit);
    return limit.rlim_max >= FD_SETSIZE + 200;
  }

 private:
  ::rlimit usual_{};
  std::vector<aio::detail::owned_descriptor> taken_;
};

bool tells(std::string const& what) { return what.find(does_not_fit) != std::string::npos; }

aio::task<> echo(aio::stream_reader reader, aio::stream_writer writer) {
  while (auto line = co_await reader.next_line()) {
    writer.write(std::string(*line) + "\n");
    co_await writer.drain();
  }
}

/// What comes back, or the error.
template <class T>
aio::task<std::string> outcome_of(aio::task<T> asked) {
  auto const outcome = co_await aio::as_result(aio::wait_for(std::move(asked), 10s));
  co_return outcome.has_value() ? std::string("done") : said(outcome);
}

}  // namespace

TEST_CASE("many descriptors: a loop that other threads could not wake is refused", "[native]") {
  if (!crowd::possible()) return;
  crowd const all;
  std::string const error = thrown_by([] {
    aio::event_loop loop;
    auto woken = loop.create_future<int>();
    std::thread other([&] { loop.call_soon_threadsafe([&] { woken.set_result(1); }); });
    auto const main = [&]() -> aio::task<int> {
      pipe_pair const pipe;  // what the system is asked to wait for
      auto const read = aio::create_task([&]() -> aio::task<> { co_await aio::wait_readable(pipe.in()); });
      int const got = co_await woken;
      co_return got;
    };
    int const got = loop.run_until_complete(main());
    other.join();
    CHECK(got == 1);
  });
  if (any_number) {
    CHECK(error == "no error");
  } else {
    CHECK(tells(error));
  }
}

TEST_CASE("many descriptors: each wait for one beyond 1,024 ends, or tells that it cannot be waited for", "[native]") {
  if (!crowd::possible()) return;
  listener const peer;
  std::string readable;
  std::string watched;
  std::string received;
  std::string connected;
  std::string in_pipe;
  std::string listening;
  aio::run([&]() -> aio::task<> {
    crowd const all;
    auto const wait_for_pipe = []() -> aio::task<> {
      pipe_pair pipe;
      std::thread other([&] {
        std::this_thread::sleep_for(10ms);
        pipe.put("x");
      });
      auto const outcome = co_await aio::as_result(aio::wait_readable(pipe.in()));
      other.join();
      (void)outcome.value();
    };
    readable = co_await outcome_of(wait_for_pipe());

    auto const add_reader = []() -> aio::task<> {
      pipe_pair pipe;
      pipe.put("x");
      auto& loop = aio::get_running_loop();
      auto came = loop.create_future<>();
      loop.add_reader(pipe.in(), [&] {
        loop.remove_reader(pipe.in());
        came.set_result();
      });
      co_await came;
    };
    watched = co_await outcome_of(add_reader());

    auto const datagrams = []() -> aio::task<> {
      auto socket = co_await aio::open_datagram(aio::datagram_options().local_address("127.0.0.1", 0));
      auto const to = socket.sockname();
      auto const read = aio::create_task([&]() -> aio::task<aio::datagram> {
        auto got = co_await socket.receive();
        co_return got;
      });
      co_await aio::sleep_for(10ms);
      co_await socket.sendto("hello", to);
      auto const got = co_await read;
      CHECK(got.data == "hello");
    };
    received = co_await outcome_of(datagrams());

    auto const connection = [&]() -> aio::task<> {
      auto streams = co_await aio::open_connection("127.0.0.1", peer.port());
      descriptor const other = peer.accept();
      auto const read = aio::create_task([&]() -> aio::task<std::string> {
        auto got = co_await streams.reader.read(100);
        co_return got;
      });
      co_await aio::sleep_for(10ms);
      other.send("good day");
      auto const got = co_await read;
      CHECK(got == "good day");
    };
    connected = co_await outcome_of(connection());

    auto const pipe_stream = []() -> aio::task<> {
      pipe_pair pipe;
      auto reader = aio::connect_read_pipe(::dup(pipe.in()));
      auto const read = aio::create_task([&]() -> aio::task<std::string> {
        auto got = co_await reader.read(100);
        co_return got;
      });
      co_await aio::sleep_for(10ms);
      pipe.put("hello");
      auto const got = co_await read;
      CHECK(got == "hello");
    };
    in_pipe = co_await outcome_of(pipe_stream());

    auto const serving = []() -> aio::task<> {
      auto server = co_await aio::start_server(echo, "127.0.0.1", 0);
      auto client = co_await aio::open_connection("127.0.0.1", server.sockets().at(0).port());
      client.writer.write("hello\n");
      auto const got = co_await client.reader.readline();
      CHECK(got == "hello\n");
    };
    listening = co_await outcome_of(serving());

    // A thread waits for it where nothing else can.
    auto const child = co_await aio::wait_for(aio::run_process(aio::process_options(), "/bin/sh", "-c", "exit 7"), 10s);
    CHECK(child.returncode == 7);
  });
  for (std::string const& each : {readable, watched, received, connected, in_pipe, listening}) {
    if (any_number) {
      CHECK(each == "done");
    } else {
      CHECK(tells(each));
    }
  }
}

TEST_CASE("many descriptors: a server goes on when numbers below 1,024 are free again", "[native]") {
  if (!crowd::possible()) return;
  std::string told;
  aio::run([&]() -> aio::task<> {
    reports heard;
    auto server = co_await aio::start_server(echo, "127.0.0.1", 0);
    std::uint16_t const port = server.sockets().at(0).port();
    {
      crowd const all;
      descriptor const client = connect_to(port);
      client.send("hello\n");
      auto const noticed = [&] { return any_number ? server.connections() == 1 : !heard.text().empty(); };
      for (int i = 0; i < 1000 && !noticed(); ++i) co_await aio::sleep_for(10ms);
      co_await aio::sleep_for(50ms);  // its answer
      CHECK(server.connections() == (any_number ? 1U : 0U));
      CHECK((client.receive() == "hello\n") == any_number);
    }
    descriptor const client = connect_to(port);
    client.send("hello\n");
    for (int i = 0; i < 1000 && server.connections() == 0; ++i) co_await aio::sleep_for(10ms);
    co_await aio::sleep_for(50ms);
    CHECK(client.receive() == "hello\n");
    told = heard.text();
  });
  if (any_number) {
    CHECK(told.empty());
  } else {
    CHECK(told.find("a server cannot accept connections for now") == 0);
    CHECK(tells(told));
  }
}
