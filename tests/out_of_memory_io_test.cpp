// SPDX-License-Identifier: MIT

// Memory that runs out while a program has to do with the rest of the world: what was opened is closed, what was
// started is ended, and nobody waits for what will not come.

#if defined(__unix__) || defined(__APPLE__)

#include <array>
#include <chrono>
#include <csignal>
#include <cstddef>
#include <exception>
#include <fstream>
#include <memory>
#include <new>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <unistd.h>
#include <utility>
#include <vector>

#include "aio/aio.hpp"
#include "aio/sendfile.hpp"
#include "aio/testing/memory_stream.hpp"
#include "aio/wait_readable.hpp"
#include "support/catch.hpp"
#include "support/descriptors.hpp"
#include "support/refusals.hpp"
#include "support/sockets.hpp"
#include "support/temporary.hpp"

using namespace std::chrono_literals;
using aio_test::refuse_after;

namespace {

/// Runs `program` again and again: the first request of this thread for memory is refused, the second one, ..., until
/// none is. Then the same once more, where all that follow are refused, too. What it throws, or what it finds that the
/// other side did not get, does not matter; that it ends does, and that nothing is left.
template <class Program>
void survives(Program program) {
  bool late = false;
  auto const run = [&] {
    aio::run_options quiet;
    quiet.exception_handler([](aio::exception_context const&) {}).signals(aio::on_signal::leave);
    aio::run(std::move(quiet), [&]() -> aio::task<> {
      try {
        co_await aio::wait_for(program(), 30s);
      } catch (aio::timeout_error const&) {
        late = true;
      } catch (aio::cancelled_error const&) {
        throw;
      } catch (std::exception const&) {  // of this side, or of the other
      }
    });
  };
  run();  // what is made once per thread is there now
  run();
  REQUIRE(!late);
  int const open = aio_test::descriptor_count();
  for (bool const all : {false, true}) {
    long granted = 0;
    bool more = true;
    while (more) {
      more = refuse_after(granted, all, run);
      INFO("after " << granted << " requests");
      REQUIRE(!late);
      REQUIRE(aio_test::descriptor_count() == open);
      REQUIRE(++granted < 10'000);
    }
  }
}

/// Lines back, until there are no more.
aio::task<> echo(aio::stream_reader reader, aio::stream_writer writer) {
  while (auto const line = co_await reader.next_line()) {
    writer.write(*line);
    writer.write("\n");
    co_await writer.drain();
  }
}
/// Asks twice, and closes.
aio::task<> talk(aio::stream_reader reader, aio::stream_writer writer) {
  writer.write("one\n");
  co_await writer.drain();
  auto const one = co_await reader.next_line();
  if (!one || *one != "one") throw std::runtime_error("no answer");
  co_await writer.send("two and three\n");
  auto const two = co_await reader.readuntil("\n");
  if (two != "two and three\n") throw std::runtime_error("a wrong answer");
  writer.close();
  co_await writer.wait_closed();
}
aio::task<> talk_over(aio::stream_pair mine, aio::stream_pair theirs) {
  co_await aio::gather(talk(std::move(mine.reader), std::move(mine.writer)),
                       echo(std::move(theirs.reader), std::move(theirs.writer)));
}

}  // namespace

TEST_CASE("out of memory: streams in memory and over sockets") {
  survives([]() -> aio::task<> {
    auto [mine, theirs] = aio::testing::memory_streams();
    co_await talk_over(std::move(mine), std::move(theirs));
  });
  survives([]() -> aio::task<> {
    auto ends = aio_test::connected_streams();
    co_await talk_over(std::move(ends.mine), std::move(ends.theirs));
  });
}

TEST_CASE("out of memory: what is read stays to be read") {
  auto const program = []() -> aio::task<> {
    aio::testing::memory_peer peer;
    auto [reader, writer] = peer.open();
    peer.feed("one\n" + std::string(20'000, 'x') + "\nthree");
    peer.feed_eof();
    std::vector<std::string> got;
    got.reserve(3);
    while (got.size() < 3) {
      try {
        std::string line = co_await reader.readline();
        got.push_back(std::move(line));
      } catch (std::bad_alloc const&) {
      }
    }
    if (got[0] != "one\n" || got[1].size() != 20'001 || got[2] != "three") throw std::logic_error("something was lost");
  };
  auto const run = [&] {
    aio::run_options quiet;
    quiet.exception_handler([](aio::exception_context const&) {}).signals(aio::on_signal::leave);
    aio::run(std::move(quiet), program);
  };
  run();
  long granted = 0;
  while (refuse_after(granted, false, run)) REQUIRE(++granted < 10'000);
}

TEST_CASE("out of memory: a server and its clients") {
  survives([]() -> aio::task<> {
    auto server = co_await aio::start_server(echo, "127.0.0.1", 0);
    auto const ask = [](std::uint16_t port) -> aio::task<> {
      auto [reader, writer] = co_await aio::open_connection("127.0.0.1", port);
      co_await talk(std::move(reader), std::move(writer));
    };
    std::uint16_t const port = server.sockets().front().port();
    (void)co_await aio::as_result(aio::gather(ask(port), ask(port)));
    co_await server.shutdown(1s);
  });
}

TEST_CASE("out of memory: a server at a path") {
  aio_test::temporary_folder const here;
  survives([&]() -> aio::task<> {
    auto server = co_await aio::start_unix_server(echo, (here / "s").string());
    auto [reader, writer] = co_await aio::open_unix_connection((here / "s").string());
    co_await talk(std::move(reader), std::move(writer));
    server.close();
    co_await server.wait_closed();
  });
}

TEST_CASE("out of memory: datagrams") {
  survives([]() -> aio::task<> {
    auto mine = co_await aio::open_datagram(aio::datagram_options().local_address("127.0.0.1", 0));
    co_await mine.sendto("hello", mine.sockname());
    auto const got = co_await mine.receive();
    if (got.data != "hello") throw std::runtime_error("a wrong datagram");
    mine.close();
  });
}

TEST_CASE("out of memory: processes") {
  survives([]() -> aio::task<> {
    auto const done = co_await aio::run_process(
        aio::process_options().input("text").out(aio::stdio::pipe()), "cat");
    if (done.returncode != 0) throw std::runtime_error("it failed");
  });
  survives([]() -> aio::task<> {
    auto child = co_await aio::create_subprocess_exec("sleep", "100");
    child.terminate();
    int const code = co_await child.wait();
    if (code != -SIGTERM) throw std::runtime_error("it ended otherwise");
  });
}

TEST_CASE("out of memory: signals and descriptors") {
  auto* const before = std::signal(SIGUSR1, SIG_IGN);  // where nobody could wait for it
  survives([]() -> aio::task<> {
    auto& loop = aio::get_running_loop();
    loop.call_soon([] { ::raise(SIGUSR1); });
    bool heard = false;
    loop.add_signal_handler(SIGUSR2, [&] { heard = true; });
    (void)co_await aio::wait_signal(SIGUSR1);
    loop.remove_signal_handler(SIGUSR2);
  });
  survives([]() -> aio::task<> {
    auto const ends = aio_test::descriptors();
    aio::detail::owned_descriptor const one(ends[0]);
    aio::detail::owned_descriptor const other(ends[1]);
    (void)::write(other.get(), "x", 1);
    co_await aio::wait_readable(one.get());
    aio::event written;
    auto& loop = aio::get_running_loop();
    loop.add_writer(one.get(), [&] { written.set(); });
    auto const outcome = co_await aio::as_result(written.wait());
    loop.remove_writer(one.get());
    if (!outcome.has_value()) outcome.rethrow();
  });
  std::signal(SIGUSR1, before);
}

TEST_CASE("out of memory: files") {
  aio_test::temporary_folder const here;
  // No more than the system takes while nobody reads, for who reads may have failed.
  std::ofstream(here / "f") << std::string(70'000, 'x') << "\nlast\n";
  survives([&]() -> aio::task<> {
    auto f = co_await aio::file::open(here / "f");
    while (auto const line = co_await f.next_line()) {
      if (line->empty()) throw std::runtime_error("an empty line");
    }
    co_await f.close();
  });
  survives([&]() -> aio::task<> {
    auto [mine, theirs] = aio_test::connected_streams();
    auto reads = aio::create_task([](aio::stream_reader from) -> aio::task<std::size_t> {
      std::string const all = co_await from.read();
      co_return all.size();
    }(std::move(theirs.reader)));
    auto const sent = co_await aio::as_result(aio::sendfile(mine.writer, here / "f"));
    mine.writer.close();
    auto const got = co_await reads;
    if (sent.has_value() && sent.value() != got) throw std::logic_error("something was lost");
  });
}

TEST_CASE("out of memory: tasks on other loops, and operations of Asio") {
  survives([]() -> aio::task<> {
    aio::loop_thread other;
    int const answer = co_await aio::run_on(other.loop(), []() -> aio::task<int> { co_return 42; });
    if (answer != 42) throw std::runtime_error("a wrong answer");
  });
}

#endif
