// SPDX-License-Identifier: MIT

// Asks a Redis server many things at once by one connection, and hears what is published by another.
//
//   redis [host [port [rounds]]]
//
// 127.0.0.1, 6379 and 10 rounds, of 1,000 commands at once each, unless something else is said. The keys and channels
// that it uses begin with "aio:".
//
// Commands that fail are told of, and the others go on; where the server went away, as soon as it is back. Exit status:
// 0 if every command had the right answer, 1 if not, 2 if there was no server.

#include "redis.hpp"

#include <aio/aio.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <iostream>
#include <map>
#include <string>
#include <utility>
#include <variant>
#include <vector>

using namespace std::chrono_literals;

constexpr int at_once = 1000;

using reasons = std::map<std::string, int>;

// Whether it was answered, and rightly.
aio::task<bool> ask(redis::client& db, int number, reasons& failed) {
  try {
    redis::reply const got = co_await aio::wait_for(db.command("ECHO", number), 20s);
    co_return got.text == std::to_string(number);
  } catch (std::exception const& error) {
    ++failed[error.what()];
    co_return false;
  }
}

// How many of a round were answered.
aio::task<std::size_t> ask_many(redis::client& db, int round) {
  reasons failed;
  std::vector<aio::task<bool>> asked;
  for (int i = 0; i < at_once; ++i) asked.push_back(ask(db, round * at_once + i, failed));
  auto const right = co_await aio::gather(std::move(asked));
  for (auto const& [why, count] : failed) {
    std::cerr << "round " << round << ": " << count << " commands failed: " << why << std::endl;
  }
  std::size_t answered = 0;
  for (bool const each : right) answered += each ? 1 : 0;
  co_return answered;
}

aio::task<> show_values(redis::client& db) {
  co_await db.command("DEL", "aio:list", "aio:none");
  co_await db.command("RPUSH", "aio:list", "one", 2, std::string("\r\n\0", 3));
  auto const list = co_await db.command("LRANGE", "aio:list", 0, -1);
  auto const none = co_await db.command("GET", "aio:none");
  std::cout << list.elements.size() << " elements, the last of " << list.elements.back().text.size() << " bytes; "
            << (none.what == redis::reply::nil ? "nothing" : "something") << " where nothing is\n";
  co_await db.command("DEL", "aio:list");
  try {
    co_await db.command("INCR", "aio:list", "what?");
  } catch (redis::error const& error) {
    std::cout << "refused: " << error.what() << '\n';
  }
}

aio::task<> listen(std::string host, std::uint16_t port, aio::queue<std::string>& heard) {
  auto news = redis::subscribe(std::move(host), port, "aio:news");
  while (std::string* text = co_await news.next()) heard.put_nowait(std::move(*text));
}

aio::task<> hear(aio::queue<std::string>& heard, std::string const& text) {
  for (;;) {
    std::string const got = co_await heard.get();
    if (got == text) co_return;
    std::cout << "heard " << got << ", too\n";
  }
}

// Publishes until it is heard here: others may hear it already when this program has not subscribed yet, or again.
aio::task<> publish(redis::client& db, std::string text, aio::queue<std::string>& heard) {
  for (bool done = false; !done;) {
    co_await db.command("PUBLISH", "aio:news", text);
    try {
      co_await aio::wait_for(hear(heard, text), 200ms);
      done = true;
    } catch (aio::timeout_error const&) {
    }
  }
  std::cout << "published " << text << ", heard " << text << std::endl;
}

// How many commands were answered.
aio::task<std::size_t> work(redis::client& db, aio::queue<std::string>& heard, int rounds) {
  co_await aio::wait_for(db.command("PING"), 5s);
  co_await show_values(db);
  co_await publish(db, "the beginning", heard);
  std::size_t answered = 0;
  for (int round = 0; round < rounds; ++round) answered += co_await ask_many(db, round);
  co_await aio::wait_for(publish(db, "the end", heard), 20s);
  co_return answered;
}

// Returns the exit status.
aio::task<int> async_main(std::string host, std::uint16_t port, int rounds) {
  redis::client db(host, port);
  aio::queue<std::string> heard;
  // The first two do not end by themselves, and are cancelled when the work is done.
  auto const done = co_await aio::race(db.run(), listen(host, port, heard), work(db, heard, rounds));
  std::size_t const answered = std::get<2>(done);
  std::size_t const all = static_cast<std::size_t>(rounds) * at_once;
  std::cout << answered << " of " << all << " commands answered, by " << db.connections()
            << (db.connections() == 1 ? " connection\n" : " connections\n");
  co_return answered == all ? 0 : 1;
}

int main(int argc, char** argv) {
  try {
    std::string const host = argc > 1 ? argv[1] : "127.0.0.1";
    auto const port = static_cast<std::uint16_t>(argc > 2 ? std::stoul(argv[2]) : 6379);
    return aio::run(async_main(host, port, argc > 3 ? std::stoi(argv[3]) : 10));
  } catch (std::exception const& error) {
    std::cerr << "redis: " << error.what() << '\n';
    return 2;
  }
}
