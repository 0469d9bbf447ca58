// SPDX-License-Identifier: MIT

// Whatever aio does with the rest of the world fails, one operation after the other: nothing is left open, nobody waits
// for ever, and whoever waited hears of it. Part of aio_fail_each_operation_tests, which counts memory.

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <optional>
#include <set>
#include <stdexcept>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include <asio/system_executor.hpp>

#include "aio/aio.hpp"
#include "aio/sendfile.hpp"
#include "aio/testing/fail_each_operation.hpp"
#include "aio/testing/virtual_clock.hpp"
#include "support/catch.hpp"
#if defined(__unix__) || defined(__APPLE__)
#include "support/peers.hpp"
#include "support/sockets.hpp"
#include "support/temporary.hpp"
#endif

using namespace std::chrono_literals;
using aio::testing::fail_each_operation;
using aio::testing::failed_operation;
using aio::testing::lost_connection;
using aio::testing::operation_options;

namespace {

using lines = std::set<std::string>;

/// What failed, whose it was, and whether the test ended well then; each once, for sockets bring more or fewer pieces.
lines list(std::vector<failed_operation> const& all) {
  lines text;
  for (auto const& each : all) {
    std::string whose = each.task.empty() || each.task == "fail_each_operation" ? "" : " in " + each.task;
    if (each.task.starts_with("connection ")) whose = " in server";
    if (each.task.starts_with("Task-")) whose = " in a task";
    text.insert(each.what + whose + (each.outcome.empty() ? ": well" : ": throws"));
  }
  return text;
}

operation_options both_ends() { return operation_options().may_end(&lost_connection); }

/// Answers each line with itself.
aio::task<> echo(aio::stream_reader reader, aio::stream_writer writer) {
  while (auto line = co_await reader.next_line()) co_await writer.send(std::string(*line) + "\n");
}

aio::task<> close(aio::stream_writer& writer) {
  writer.close();
  co_await writer.wait_closed();
}

/// Asks for a line, and closes.
aio::task<std::string> ask(std::string host, std::uint16_t port, std::string line) {
  auto [reader, writer] = co_await aio::open_connection(std::move(host), port);
  co_await writer.send(line + "\n");
  std::string answer = co_await reader.readuntil();
  co_await close(writer);
  co_return answer;
}

}  // namespace

#if defined(__unix__) || defined(__APPLE__)

// ---------------------------------------------------------------- streams and servers

TEST_CASE("operations fail: a stream over a socket, read, drained, sent and closed") {
  auto const test = []() -> aio::task<> {
    auto [mine, theirs] = aio_test::connected_streams();
    auto const takes = [](aio::stream_pair ends) -> aio::task<std::size_t> {
      std::string const all = co_await ends.reader.read();
      co_await close(ends.writer);
      co_return all.size();
    };
    auto taking = aio::create_task(aio::task_options().name("reader"), takes(std::move(theirs)));
    auto const writes = [&]() -> aio::task<> {
      mine.writer.write("head");
      co_await mine.writer.drain();
      co_await mine.writer.send(std::string(100'000, 'x'));
      mine.writer.write("tail");
      co_await close(mine.writer);
    };
    auto const written = co_await aio::as_result(writes());
    mine.writer.close();
    auto const taken = co_await aio::as_result(taking);
    if (!written.has_value()) written.rethrow();
    if (co_await taking != 100'008) throw std::logic_error("some were lost");
  };
  CHECK(list(fail_each_operation(operation_options().all_that_follow(), test)) ==
        lines{"receive in reader: throws", "send: throws"});
}

TEST_CASE("operations fail: a server and its client") {
  std::size_t connections = 0;
  auto const test = [&]() -> aio::task<> {
    auto server = co_await aio::start_server(echo, "127.0.0.1", 0);
    auto const asked = co_await aio::as_result(ask("127.0.0.1", server.sockets().front().port(), "a"));
    co_await server.shutdown(1s);
    connections = server.connections();
    if (!asked.has_value()) asked.rethrow();
    if (asked.value() != "a\n") throw std::logic_error("another answer");
  };
  auto const none_open = [&] {
    if (connections != 0) throw std::logic_error("connections are open");
  };
  CHECK(list(fail_each_operation(both_ends().invariant(none_open), test)) ==
        lines{"accept: well", "async_connect: throws", "receive in server: throws", "receive in server: well",
              "receive: throws", "send in server: throws", "send: throws"});
}

TEST_CASE("operations fail: a server accepts again, whatever kept it from that") {
  using std::errc;
  auto const test = []() -> aio::task<> {
    auto server = co_await aio::start_server(echo, "127.0.0.1", 0);
    std::string const answer = co_await ask("127.0.0.1", server.sockets().front().port(), "a");
    co_await server.shutdown(1s);
    if (answer != "a\n") throw std::logic_error("another answer");
  };
  auto const accepts = [](failed_operation const& each) { return each.what == "accept"; };
  auto const options = operation_options().only(accepts).errors(
      {errc::too_many_files_open, errc::not_enough_memory, errc::connection_aborted, errc::network_down,
       errc::invalid_argument});
  auto const ended = fail_each_operation(options, test);
  CHECK(ended.size() == 5);
  CHECK(list(ended) == lines{"accept: well"});
}

TEST_CASE("operations fail: a Unix socket's server and client") {
  aio_test::socket_path const path;
  auto const test = [&]() -> aio::task<> {
    auto server = co_await aio::start_unix_server(echo, path);
    auto const asks = [&]() -> aio::task<> {
      auto [reader, writer] = co_await aio::open_unix_connection(path);
      co_await writer.send("a\n");
      (void)co_await reader.readuntil();
      co_await close(writer);
    };
    auto const asked = co_await aio::as_result(asks());
    co_await server.shutdown(1s);
    if (!asked.has_value()) asked.rethrow();
  };
  CHECK(list(fail_each_operation(both_ends(), test)) ==
        lines{"accept: well", "connect: throws", "receive in server: throws", "receive in server: well",
              "receive: throws", "send in server: throws", "send: throws"});
}

// ---------------------------------------------------------------- connecting

TEST_CASE("operations fail: connecting goes on with the next address") {
  auto const test = []() -> aio::task<> {
    auto server = co_await aio::start_server(echo, "", 0, aio::server_options().family(AF_INET));
    auto const options = aio::connect_options().happy_eyeballs_delay(250ms);
    auto const connects = [&]() -> aio::task<> {
      auto ends = co_await aio::open_connection("", server.sockets().front().port(), options);
      co_await close(ends.writer);
    };
    auto const connected = co_await aio::as_result(connects());
    co_await server.shutdown(1s);
    if (!connected.has_value()) connected.rethrow();
  };
  auto const ended = list(fail_each_operation(both_ends().all_that_follow(), test));
  CHECK(ended.contains("getaddrinfo: throws"));
  auto const addresses = []() -> aio::task<std::vector<aio::socket_address>> {
    co_return co_await aio::getaddrinfo("", 80);
  };
  bool const several = aio::testing::run(addresses).size() > 1;  // of them one has no server
  CHECK(ended.contains(several ? "async_connect in a task: throws" : "async_connect: throws"));
}

// ---------------------------------------------------------------- datagrams, processes, pipes, files, threads

TEST_CASE("operations fail: datagrams") {
  auto const test = []() -> aio::task<> {
    auto first = co_await aio::open_datagram(aio::datagram_options().local_address("localhost", 0).family(AF_INET));
    auto const options = aio::datagram_options().remote_address("127.0.0.1", first.sockname().port());
    auto second = co_await aio::open_datagram(options);
    auto const answers = [&]() -> aio::task<> {
      auto came = co_await aio::as_result(first.receive());
      if (came.cancelled()) came.rethrow();
      if (!came.has_value()) came = co_await aio::as_result(first.receive());  // it is there still
      co_await first.sendto(came.value().data, came.value().from);
    };
    co_await aio::with_task_group([&](aio::task_group& group) -> aio::task<> {
      group.create_task(aio::task_options().name("answers"), answers());
      co_await second.send("a");
      char byte = 0;
      (void)co_await second.receive_into(std::span<char>(&byte, 1));
      if (byte != 'a') throw std::logic_error("another answer");
    });
  };
  CHECK(list(fail_each_operation(test)) ==
        lines{"async_wait: throws", "getaddrinfo: throws", "receive in answers: well", "receive: throws",
              "send in answers: throws", "send: throws"});
}

TEST_CASE("operations fail: a process, its pipes, and its end") {
  auto const test = []() -> aio::task<> {
    auto const piped = aio::process_options().in(aio::stdio::pipe()).out(aio::stdio::pipe());
    auto cat = co_await aio::create_subprocess_exec(piped, "cat");
    auto const done = co_await cat.communicate("text");
    if (done.returncode == 0 && done.out != "text" && !done.out.empty()) throw std::logic_error("another text");
  };
  CHECK(list(fail_each_operation(test)) ==
        lines{"process: throws", "receive in a task: throws", "send in a task: well"});
}

TEST_CASE("operations fail: pipes") {
  auto const test = []() -> aio::task<> {
    int ends[2];
    if (::pipe(ends) != 0) throw std::runtime_error("there is no pipe");
    aio::detail::owned_descriptor out(ends[1]);
    auto reader = aio::connect_read_pipe(ends[0]);
    auto writer = aio::connect_write_pipe(out.release());
    auto const writes = [&]() -> aio::task<> {
      co_await writer.send("line\n");
      co_await close(writer);
    };
    co_await aio::with_task_group([&](aio::task_group& group) -> aio::task<> {
      group.create_task(aio::task_options().name("writes"), writes());
      if (co_await reader.readline() != "line\n") throw std::logic_error("another line");
    });
  };
  CHECK(list(fail_each_operation(test)) == lines{"receive: throws", "send in writes: throws"});
}

TEST_CASE("operations fail: files, also one that is sent") {
  aio_test::temporary_folder const folder;
  auto const test = [&]() -> aio::task<> {
    auto written = co_await aio::file::open(folder / "file", aio::file_mode::write | aio::file_mode::create);
    co_await written.write("one\ntwo\n");
    co_await written.sync();
    co_await written.close();
    auto read = co_await aio::file::open(folder / "file");
    if (co_await read.next_line() != "one") throw std::logic_error("another line");
    if (co_await read.size() != 8) throw std::logic_error("another size");
    auto [mine, theirs] = aio_test::connected_streams();
    (void)co_await aio::sendfile(mine.writer, read);
    co_await close(mine.writer);
    if (co_await theirs.reader.read() != "one\ntwo\n") throw std::logic_error("another text");
    if (co_await aio::file::read_text(folder / "file") != "one\ntwo\n") throw std::logic_error("another text");
  };
  // The last that is sent is nothing: the file ends there.
  CHECK(list(fail_each_operation(test)) == lines{"file: throws", "receive: throws", "send: throws", "send: well"});
}

#endif

TEST_CASE("operations fail: functions in threads, and tasks on other loops") {
  aio::loop_thread background;
  auto const test = [&]() -> aio::task<> {
    auto const there = []() -> aio::task<int> {
      co_await aio::to_thread([] {});  // of the other loop: it does not fail
      co_return 1;
    };
    auto const sum = co_await aio::gather(aio::to_thread([] { return 1; }), aio::run_on(background.loop(), there),
                                          aio::run_in_executor(asio::system_executor(), [] { return 1; }));
    if (std::get<0>(sum) + std::get<1>(sum) + std::get<2>(sum) != 3) throw std::logic_error("another sum");
  };
  auto const options = operation_options().memory_may_stay();  // the other thread keeps some for itself
  CHECK(list(fail_each_operation(options, test)) == lines{"thread in a task: throws"});
}

TEST_CASE("operations fail: a function that runs in a thread fails when its task was cancelled") {
  auto const test = []() -> aio::task<> {
    auto waits = aio::create_task(aio::to_thread([] {}));
    co_await aio::sleep_for(0s);
    waits.cancel();
    auto const ended = co_await aio::as_result(waits);
    if (!ended.has_value() && !ended.cancelled()) ended.rethrow();
  };
  CHECK(fail_each_operation(test).size() == 1);
}

// ---------------------------------------------------------------- what programs are made of

TEST_CASE("operations fail: a name is looked up again until it is found") {
  auto const look_up = []() -> aio::task<std::vector<aio::socket_address>> {
    co_return co_await aio::getaddrinfo("localhost", 80);
  };
  auto const test = [&]() -> aio::task<> {
    auto const all = co_await aio::retry(aio::times(3), look_up);
    if (all.empty()) throw std::logic_error("there are none");
  };
  CHECK(list(fail_each_operation(test)) == lines{"getaddrinfo: well"});
}

#if defined(__unix__) || defined(__APPLE__)

TEST_CASE("operations fail: several are asked at once, in a group") {
  auto const test = []() -> aio::task<> {
    auto server = co_await aio::start_server(echo, "127.0.0.1", 0);
    std::uint16_t const port = server.sockets().front().port();
    auto const asks = [port](aio::task_group& group) -> aio::task<> {
      for (char const* const name : {"a", "b", "c"}) {
        group.create_task(aio::task_options().name(name), ask("127.0.0.1", port, name));
      }
      co_return;
    };
    auto const asked = co_await aio::as_result(aio::with_task_group(asks));
    co_await server.shutdown(1s);
    if (!asked.has_value()) asked.rethrow();
  };
  auto const ended = list(fail_each_operation(both_ends(), test));
  CHECK(ended.size() > 10);
}

namespace {

/// Connections that are used again by whoever comes next.
class pool {
 public:
  pool(std::uint16_t port, std::ptrdiff_t most) : port_(port), free_(most) {}

  aio::task<std::string> ask(std::string line) {
    auto const permit = co_await free_.acquire();
    std::optional<aio::stream_pair> ends;
    if (!idle_.empty()) {
      ends = std::move(idle_.back());
      idle_.pop_back();
    } else {
      ends = co_await aio::open_connection("127.0.0.1", port_);
      ++open;
    }
    try {
      co_await ends->writer.send(line + "\n");
      std::string answer = co_await ends->reader.readuntil();
      idle_.push_back(std::move(*ends));
      co_return answer;
    } catch (...) {
      --open;
      throw;
    }
  }
  [[nodiscard]] bool is_whole() const { return open == static_cast<int>(idle_.size()); }
  void close() { idle_.clear(); }

 private:
  int open = 0;
  std::uint16_t port_;
  aio::semaphore free_;
  std::vector<aio::stream_pair> idle_;
};

}  // namespace

TEST_CASE("operations fail: a pool of connections keeps those that are whole, and no others") {
  bool whole = true;
  auto const test = [&]() -> aio::task<> {
    auto server = co_await aio::start_server(echo, "127.0.0.1", 0);
    pool connections(server.sockets().front().port(), 2);
    auto const asks = [&](std::string line) -> aio::task<bool> {
      for (int attempt = 0; attempt < 3; ++attempt) {  // a connection may have been lost meanwhile
        auto const asked = co_await aio::as_result(connections.ask(line));
        if (asked.has_value()) co_return asked.value() == line + "\n";
      }
      co_return false;
    };
    auto const answered = co_await aio::gather(asks("a"), asks("b"), asks("c"), asks("d"));
    whole = connections.is_whole();
    connections.close();
    co_await server.shutdown(1s);
    if (!std::apply([](auto... each) { return (each && ...); }, answered)) throw std::logic_error("no answer");
  };
  auto const is_whole = [&] {
    if (!whole) throw std::logic_error("connections were lost");
  };
  auto const ended = fail_each_operation(operation_options().invariant(is_whole), test);
  CHECK(ended.size() > 10);
  for (auto const& each : ended) CHECK(each.outcome.empty());
}

#endif
