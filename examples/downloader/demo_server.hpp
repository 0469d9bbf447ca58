// SPDX-License-Identifier: MIT
#pragma once

// What the demonstration downloads.

#include <aio/aio.hpp>

#include <array>
#include <chrono>
#include <map>
#include <string>
#include <system_error>

class demo_pages {
 public:
  static constexpr std::array names{"a.txt", "large.bin", "busy.txt", "missing.txt", "slow.txt", "cut.txt", "b.txt"};

  aio::task<> answer(aio::stream_reader reader, aio::stream_writer writer) {
    try {
      std::string const request = co_await reader.readuntil("\r\n\r\n");
      std::string const name = request.substr(5, request.find(' ', 5) - 5);  // GET /a.txt HTTP/1.0
      if (name == "slow.txt") co_await aio::sleep_for(std::chrono::hours(1));
      writer.write(head_and_body(name, ++asked_[name]));
      co_await writer.drain();
    } catch (std::system_error const&) {
      // The client has hung up. That is no error of the server's.
    }
  }

 private:
  static std::string head_and_body(std::string const& name, int times) {
    if (name == "missing.txt") return "HTTP/1.0 404 Not Found\r\n\r\n";
    if (name == "busy.txt" && times < 3) return "HTTP/1.0 503 Service Unavailable\r\n\r\n";
    if (name == "large.bin") return "HTTP/1.0 200 OK\r\nContent-Length: 1000000\r\n\r\n" + std::string(1'000'000, 'x');
    if (name == "cut.txt") return "HTTP/1.0 200 OK\r\nContent-Length: 100\r\n\r\nnot all";
    return "HTTP/1.0 200 OK\r\n\r\nthe text of " + name + "\n";
  }

  std::map<std::string, int> asked_;
};
