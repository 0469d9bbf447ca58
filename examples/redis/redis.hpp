// SPDX-License-Identifier: MIT
#pragma once

// A client of Redis on aio's streams: any number of tasks share one connection, which comes back when it was lost.
//
//   aio::task<> talk(redis::client& db) {
//     co_await db.command("SET", "name", "value");
//     auto const value = co_await db.command("GET", "name");
//     std::cout << value.text << '\n';
//   }
//
//   redis::client db("127.0.0.1", 6379);
//   co_await aio::race(db.run(), talk(db));  // run() connects, receives the answers, and does not end by itself
//
// Redis answers in the order of the commands, and need not be waited for between them: what all tasks ask at a time
// goes out at once (pipelining), and each has its own answer. The protocol (RESP) is small enough to be read by hand:
// a line says what comes, and for texts and arrays how much of it.

#include <aio/aio.hpp>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <exception>
#include <stdexcept>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

namespace redis {

/// The server refused a command; or nobody knows what became of it, for the connection was lost before the answer.
class error : public std::runtime_error {
  using runtime_error::runtime_error;
};

struct reply {
  enum kind {
    nil,
    number,
    string,
    array,
    failure,
  };

  reply() = default;  // so that it is no aggregate: g++ 12 has an error with those

  kind what = nil;
  std::int64_t integer = 0;    // of a number
  std::string text;            // of a string or a failure
  std::vector<reply> elements;  // of an array
};

/// One connection, which run() makes, and makes again. Lifetime: must outlive the tasks that use it.
class client {
 public:
  client(std::string host, std::uint16_t port) : host_(std::move(host)), port_(port) {}

  /// Connects, receives the answers, and connects anew with pauses where that is lost; until it is cancelled.
  aio::task<> run();

  /// Sends one command, as soon as there is a connection, and gives its answer.
  ///
  /// Cancelled: does not wait for the answer any more; the server may do what it was asked all the same. So
  /// `aio::wait_for(db.command(...), 5s)` works, also while there is no server.
  /// Throws: error.
  template <class... Parts>
  aio::task<reply> command(Parts const&... parts);

  /// How often a connection came about.
  int connections() const { return connections_; }

 private:
  aio::task<> receive();
  aio::task<reply> send(std::string request);

  std::string host_;
  std::uint16_t port_;
  int connections_ = 0;
  aio::event connected_;
  aio::stream_writer* writer_ = nullptr;  // while it is set
  std::deque<aio::future<reply>> asked_;  // in the order of the answers
};

/// What is published in a channel from now on, by a connection of its own. What comes while that is lost, and until it
/// is there again, is missed: the server keeps nothing.
aio::async_generator<std::string> subscribe(std::string host, std::uint16_t port, std::string channel);

// ---------------------------------------------------------------- implementation

constexpr std::chrono::milliseconds shortest_pause{50};
constexpr std::chrono::milliseconds longest_pause{1000};
constexpr std::chrono::seconds longest_attempt{5};

/// "*2\r\n$3\r\nGET\r\n$4\r\nname\r\n": how many parts, and of each how long it is.
template <class... Parts>
std::string request(Parts const&... parts) {
  std::string text = "*" + std::to_string(sizeof...(parts)) + "\r\n";
  auto const add = [&](std::string_view part) {
    text.append("$").append(std::to_string(part.size())).append("\r\n").append(part).append("\r\n");
  };
  auto const add_any = [&]<class Part>(Part const& part) {
    if constexpr (std::is_arithmetic_v<Part>) {
      add(std::to_string(part));
    } else {
      add(part);
    }
  };
  (add_any(parts), ...);
  return text;
}

inline aio::task<reply> read_reply(aio::stream_reader& reader) {
  std::string line(co_await reader.readuntil_view("\r\n"));
  line.resize(line.size() - 2);
  char const type = line[0];
  line.erase(0, 1);
  reply got;
  if (type == '+' || type == '-') {
    got.what = type == '+' ? reply::string : reply::failure;
    got.text = std::move(line);
    co_return got;
  }
  got.integer = std::stoll(line);
  if (type == ':') {
    got.what = reply::number;
  } else if (type == '$' && got.integer >= 0) {
    got.what = reply::string;
    got.text = co_await reader.readexactly(static_cast<std::size_t>(got.integer) + 2);
    got.text.resize(got.text.size() - 2);
  } else if (type == '*' && got.integer >= 0) {
    got.what = reply::array;
    for (auto left = got.integer; left > 0; --left) {
      reply element = co_await read_reply(reader);
      got.elements.push_back(std::move(element));
    }
  } else if (got.integer != -1) {  // the length of what is not there
    throw error("this is no answer of Redis");
  }
  co_return got;
}

template <class... Parts>
aio::task<reply> client::command(Parts const&... parts) {
  return send(request(parts...));
}

inline aio::task<reply> client::send(std::string request) {
  while (!writer_) co_await connected_.wait();
  writer_->write(std::move(request));  // leaves together with what others ask in this iteration
  aio::future<reply> const answer = asked_.emplace_back();
  reply got = co_await answer;
  if (got.what == reply::failure) throw error(got.text);
  co_return got;
}

inline aio::task<> client::receive() {
  auto [reader, writer] = co_await aio::wait_for(aio::open_connection(host_, port_), longest_attempt);
  struct connected {
    connected(client& owner, aio::stream_writer& to) : of(owner) {
      of.writer_ = &to;
      of.connected_.set();
      ++of.connections_;
    }
    connected(connected const&) = delete;
    ~connected() {
      std::exchange(of.writer_, nullptr)->abort();  // nobody waits for what is not sent yet
      of.connected_.clear();
      for (auto const& each : std::exchange(of.asked_, {})) {
        if (!each.done()) each.set_exception(error("the connection was lost before the answer"));
      }
    }
    client& of;
  } const here(*this, writer);
  for (;;) {
    reply got = co_await read_reply(reader);
    if (asked_.empty()) throw error("an answer that nobody asked for");
    auto const to = std::move(asked_.front());
    asked_.pop_front();
    if (!to.done()) to.set_result(std::move(got));  // else who asked was cancelled
  }
}

inline aio::task<> client::run() {
  for (auto pause = shortest_pause;; pause = std::min(2 * pause, longest_pause)) {
    int const before = connections_;
    try {
      co_await receive();
    } catch (std::exception const&) {
      // Refused, too late, or lost: those who waited for answers have heard of it.
    }
    if (connections_ != before) pause = shortest_pause;
    co_await aio::sleep_for(pause);
  }
}

inline aio::async_generator<std::string> subscribe(std::string host, std::uint16_t port, std::string channel) {
  for (auto pause = shortest_pause;; pause = std::min(2 * pause, longest_pause)) {
    try {
      auto [reader, writer] = co_await aio::wait_for(aio::open_connection(host, port), longest_attempt);
      co_await writer.send(request("SUBSCRIBE", channel));
      for (;;) {
        reply got = co_await read_reply(reader);
        if (got.what == reply::failure) throw error(got.text);  // it may not, now
        pause = shortest_pause;
        // {"message", channel, text}; that it has subscribed comes in the same way.
        if (got.elements.size() == 3 && got.elements[0].text == "message") co_yield std::move(got.elements[2].text);
      }
    } catch (std::exception const&) {
      // As in run().
    }
    co_await aio::sleep_for(pause);
  }
}

}  // namespace redis
