// SPDX-License-Identifier: MIT

// Runs scripts of reads on aio's streams and prints what they gave, as CPython's asyncio.StreamReader would;
// README.md in this folder describes the language.
//
//   aio_replay_streams run PROGRAM.json            the trace of one program
//   aio_replay_streams batch IN.jsonl OUT.jsonl    one program per line in, {"name", "trace"} per line out
//   aio_replay_streams check PROGRAMS.jsonl TRACES.jsonl   compares; says where traces differ
//
// in memory; with --sockets before that, over pairs of sockets.

#include <chrono>
#include <cstddef>
#include <deque>
#include <exception>
#include <fstream>
#include <iostream>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

#include <aio/aio.hpp>
#include <aio/testing/memory_stream.hpp>
#include <aio/testing/virtual_clock.hpp>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "support/sockets.hpp"

namespace {

using json = nlohmann::json;
using namespace std::chrono_literals;

std::string from_hex(std::string_view text) {
  std::string bytes;
  for (std::size_t i = 0; i + 1 < text.size(); i += 2) {
    bytes += static_cast<char>(std::stoi(std::string(text.substr(i, 2)), nullptr, 16));
  }
  return bytes;
}
std::string to_hex(std::string_view bytes) {
  static constexpr char digits[] = "0123456789abcdef";
  std::string text;
  for (char const each : bytes) {
    text += digits[static_cast<unsigned char>(each) >> 4U];
    text += digits[static_cast<unsigned char>(each) & 15U];
  }
  return text;
}

/// The other end of what is read from.
class peer {
 public:
  virtual ~peer() = default;
  virtual void send(std::string const& chunk) = 0;
  virtual void end() = 0;
  virtual void reset() = 0;
  /// Whether what was sent has not been taken yet.
  virtual bool on_its_way() = 0;
};

class peer_in_memory final : public peer {
 public:
  aio::stream_pair open(aio::stream_options const& options) { return end_.open(options); }
  void send(std::string const& chunk) override { end_.feed(chunk); }
  void end() override { end_.feed_eof(); }
  void reset() override { end_.reset(); }
  bool on_its_way() override { return false; }

 private:
  aio::testing::memory_peer end_;
};

class peer_by_socket final : public peer {
 public:
  aio::stream_pair open(aio::stream_options const& options) {
    auto const ends = aio_test::descriptors();
    here_ = ends[0];
    there_ = ends[1];
    return aio_test::stream_over(there_, options);
  }
  ~peer_by_socket() override { end(); }
  void send(std::string const& chunk) override {
    if (!chunk.empty() && ::send(here_, chunk.data(), chunk.size(), MSG_NOSIGNAL) < 0) {
      throw std::runtime_error("cannot send");
    }
  }
  void end() override {
    if (here_ >= 0) ::close(here_);
    here_ = -1;
  }
  /// A Unix socket is reset by closing it while it has not read all that was sent to it.
  void reset() override {
    (void)::send(there_, "x", 1, MSG_NOSIGNAL);
    end();
  }
  bool on_its_way() override {
    int left = 0;
    return here_ >= 0 && ::ioctl(there_, FIONREAD, &left) == 0 && left > 0;
  }

 private:
  int here_ = -1;
  int there_ = -1;
};

aio::task<json> read(aio::stream_reader& reader, json const& op) {
  std::string const kind = op["op"];
  std::string bytes;
  if (kind == "read") {
    long const count = op["n"];
    if (count < 0) {
      bytes = co_await reader.read();
    } else {
      bytes = co_await reader.read(static_cast<std::size_t>(count));
    }
  } else if (kind == "readexactly") {
    bytes = co_await reader.readexactly(op["n"].get<std::size_t>());
  } else if (kind == "readline") {
    bytes = co_await reader.readline();
  } else if (kind == "readuntil") {
    std::vector<std::string> separators;
    for (std::string const each : op["separators"]) separators.push_back(from_hex(each));
    switch (separators.size()) {
      case 1: bytes = co_await reader.readuntil(separators[0]); break;
      case 2: bytes = co_await reader.readuntil(separators[0], separators[1]); break;
      case 3: bytes = co_await reader.readuntil(separators[0], separators[1], separators[2]); break;
      default: throw std::runtime_error("too many separators");
    }
  } else if (kind == "next") {
    bytes = co_await reader.readline();
    if (bytes.empty()) co_return json(nullptr);
  } else if (kind == "at_eof") {
    co_return json(reader.at_eof());
  } else {
    throw std::runtime_error("no such op: " + kind);
  }
  co_return json(to_hex(bytes));
}

std::string text_of(json const& value) { return value.is_string() ? value.get<std::string>() : value.dump(); }

aio::task<> run_script(json const& program, std::vector<std::string>& trace, aio::stream_pair ends, peer& other) {
  std::deque<std::string> chunks;
  for (std::string const each : program["chunks"]) chunks.push_back(from_hex(each));
  std::string const end = program["end"];
  for (json const& op : program["ops"]) {
    bool const interrupted = op["op"] == "interrupt";
    json const& what = interrupted ? op["of"] : op;
    std::string const name = what["op"];
    std::string const head = name + (interrupted ? " interrupted: " : ": ");
    auto reads = aio::create_task(read(ends.reader, what));
    auto const settle = [&]() -> aio::task<> {
      for (int i = 0; i < 3 || (other.on_its_way() && !reads.done()); ++i) co_await aio::sleep_for(0s);
    };
    co_await settle();
    bool ended = false;
    while (!reads.done()) {
      if (interrupted) {
        reads.cancel();
      } else if (!chunks.empty()) {
        other.send(chunks.front());
        chunks.pop_front();
      } else if (end == "open") {
        trace.push_back(head + "BLOCKED");
        reads.cancel();
        co_return;
      } else if (!std::exchange(ended, true)) {
        end == "eof" ? other.end() : other.reset();
      }
      co_await settle();
    }
    try {
      trace.push_back(head + text_of(reads.result()));
    } catch (aio::incomplete_read_error const& e) {
      trace.push_back(head + "!IncompleteRead(" + to_hex(e.partial()) + "," +
                      (e.expected() ? std::to_string(*e.expected()) : "none") + ")");
    } catch (aio::limit_overrun_error const& e) {
      if (name == "readline" || name == "next") {
        trace.push_back(head + "!LimitOverrun");
        co_return;
      }
      trace.push_back(head + "!LimitOverrun(" + std::to_string(e.consumed()) + ")");
    } catch (aio::system_error const& e) {
      trace.push_back(head + (e.code() == std::errc::connection_reset ? "!ConnectionResetError" : e.what()));
      co_return;
    } catch (aio::cancelled_error const&) {
      trace.push_back(head + "!Cancelled");
    }
  }
}

template <class Peer>
aio::task<> run_over(json const& program, std::vector<std::string>& trace) {
  Peer other;
  auto ends = other.open(aio::stream_options().limit(program["limit"].get<std::size_t>()));
  co_await run_script(program, trace, std::move(ends), other);
}

std::vector<std::string> replay(json const& program, bool sockets) {
  std::vector<std::string> trace;
  if (sockets) {
    aio::run(run_over<peer_by_socket>(program, trace));
  } else {
    aio::testing::run(run_over<peer_in_memory>(program, trace));
  }
  return trace;
}

int batch(std::string const& from, std::string const& to, bool sockets) {
  std::ifstream in(from);
  std::ofstream out(to);
  for (std::string line; std::getline(in, line);) {
    json const program = json::parse(line);
    out << json{{"name", program["name"]}, {"trace", replay(program, sockets)}}.dump() << '\n';
  }
  return out.flush() ? 0 : 1;
}

int check(std::string const& programs, std::string const& traces, bool sockets) {
  std::ifstream in(programs);
  std::ifstream expected(traces);
  int compared = 0;
  int different = 0;
  for (std::string line, wanted; std::getline(in, line) && std::getline(expected, wanted); ++compared) {
    json const program = json::parse(line);
    json const right = json::parse(wanted);
    if (program["name"] != right["name"]) throw std::runtime_error("the files do not belong together");
    auto const trace = replay(program, sockets);
    std::vector<std::string> const given = right["trace"];
    if (trace == given) continue;
    ++different;
    std::cout << program["name"] << " differs:\n";
    for (std::size_t i = 0; i < std::max(trace.size(), given.size()); ++i) {
      std::string const mine = i < trace.size() ? trace[i] : "nothing";
      std::string const theirs = i < given.size() ? given[i] : "nothing";
      if (mine != theirs) std::cout << "  line " << i << ": " << mine << "\n    asyncio: " << theirs << '\n';
    }
  }
  std::cout << compared << " compared, " << different << " differ\n";
  return compared > 0 && different == 0 ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) {
  std::vector<std::string> args(argv + 1, argv + argc);
  bool const sockets = !args.empty() && args[0] == "--sockets";
  if (sockets) args.erase(args.begin());
  try {
    if (args.size() == 2 && args[0] == "run") {
      std::ifstream file(args[1]);
      for (auto const& line : replay(json::parse(file), sockets)) std::cout << line << '\n';
      return 0;
    }
    if (args.size() == 3 && args[0] == "batch") return batch(args[1], args[2], sockets);
    if (args.size() == 3 && args[0] == "check") return check(args[1], args[2], sockets);
  } catch (std::exception const& e) {
    std::cerr << "aio_replay_streams: " << e.what() << '\n';
    return 1;
  }
  std::cerr << "usage: aio_replay_streams [--sockets] run PROGRAM.json | batch IN.jsonl OUT.jsonl | check IN.jsonl "
               "EXPECTED.jsonl\n";
  return 2;
}
