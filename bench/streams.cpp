// SPDX-License-Identifier: MIT

// W22: over streams on loopback, both ends in this process: a line there and back (W22), 64 lines at once (W22b, an
// operation is a line), 64 KiB (W22c). W23: a datagram there and back. W24: /bin/true, from its start to its end.

#include <algorithm>
#include <array>
#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include <aio/datagram.hpp>
#include <aio/open_connection.hpp>
#include <aio/process.hpp>
#include <aio/server.hpp>

#include "bench.hpp"
#include "on_aio.hpp"

namespace {

constexpr std::size_t block_size = 65536;
constexpr std::size_t lines_at_once = 64;
constexpr std::string_view one_line = "thirty-one bytes, and their end\n";

/// Answers go out together, those to all lines that came at once.
aio::task<> echo_lines(aio::stream_reader reader, aio::stream_writer writer) {
  for (;;) {
    std::string line = co_await reader.readline();
    if (line.empty()) co_return;
    writer.write(std::move(line));
    if (reader.buffer().empty()) co_await writer.drain();
  }
}

aio::task<> echo_blocks(aio::stream_reader reader, aio::stream_writer writer) {
  for (;;) {
    std::string block = co_await reader.read(block_size);
    if (block.empty()) co_return;
    writer.write(std::move(block));
    co_await writer.drain();
  }
}

aio::task<> ask(aio::stream_pair& server, std::string_view text, std::span<char> answer, std::size_t count) {
  for (; count > 0; --count) {
    co_await server.writer.send(text);
    co_await server.reader.readexactly(answer);
  }
}

/// `at_once`: operations that are one message.
template <class Handler>
void talk(bench::run& run, Handler handler, std::string text, std::size_t at_once = 1) {
  bench::run_aio([&]() -> aio::task<> {
    auto server = co_await aio::start_server(handler, "127.0.0.1", 0);
    std::vector<aio::stream_pair> clients;
    std::vector<std::string> answers(run.given().connections, std::string(text.size(), '\0'));
    for (std::size_t i = 0; i < answers.size(); ++i) {
      auto client = co_await aio::open_connection("127.0.0.1", server.sockets()[0].port());
      clients.push_back(std::move(client));
    }
    auto const all_ask = [&](std::size_t count) {
      return bench::in_aio::join(clients.size(), [&, count](std::size_t which) {
        return ask(clients[which], text, answers[which], count);
      });
    };
    std::size_t const messages = run.operations() / at_once / clients.size();
    co_await all_ask(std::max<std::size_t>(run.warm_up() / at_once / clients.size(), 1));
    run.start();
    co_await all_ask(messages);
    run.stop();
    run.did(messages * clients.size() * at_once);
    for (auto& each : clients) each.writer.close();
    server.close();
    co_await server.wait_closed();
  });
}

void lines(bench::run& run) { talk(run, echo_lines, std::string(one_line)); }
void many_lines(bench::run& run) {
  std::string text;
  for (std::size_t i = 0; i < lines_at_once; ++i) text += one_line;
  talk(run, echo_lines, std::move(text), lines_at_once);
}
void blocks(bench::run& run) { talk(run, echo_blocks, std::string(block_size, 'x')); }

aio::task<> echo_datagrams(aio::datagram_socket& socket) {
  std::array<char, 64> message{};
  for (;;) {
    aio::datagram_info const got = co_await socket.receive_into(message);
    co_await socket.sendto(std::string_view(message.data(), got.size), got.from);
    if (got.size == 0) co_return;
  }
}

aio::task<> datagrams(std::size_t count) {
  auto there = co_await aio::open_datagram(aio::datagram_options().local_address("127.0.0.1", 0));
  auto here = co_await aio::open_datagram(aio::datagram_options().remote_address(there.sockname()));
  auto const answers = aio::create_task(echo_datagrams(there));
  std::array<char, 64> message{};
  for (; count > 0; --count) {
    co_await here.send(one_line);
    (void)co_await here.receive_into(message);
  }
  co_await here.send("");
  (void)co_await here.receive_into(message);
  co_await answers;
}

aio::task<> processes(std::size_t count) {
  for (; count > 0; --count) (void)co_await aio::run_process(aio::process_options(), "/bin/true");
}

bench::add const of_lines{{.name = "W22", .unit = "line", .warm_up = 1'000}, {{"aio", 100'000, lines}}};
bench::add const of_many_lines{{.name = "W22b", .unit = "line", .batch = lines_at_once, .warm_up = 6'400},
                               {{"aio", 2'000'000, many_lines}}};
bench::add const of_blocks{{.name = "W22c", .unit = "block", .warm_up = 100}, {{"aio", 20'000, blocks}}};
bench::add const of_datagrams{{.name = "W23", .unit = "datagram", .warm_up = 1'000},
                              {{"aio", 100'000, bench::on_aio<datagrams>}}};
bench::add const of_processes{{.name = "W24", .unit = "process", .warm_up = 5},
                              {{"aio", 1'000, bench::on_aio<processes>}}};

}  // namespace
