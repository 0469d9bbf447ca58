// SPDX-License-Identifier: MIT
#pragma once

// A small web server on loopback, so that fetch has something to fetch without a network: 100 pages
// that take their time (0.05 to 0.3 s each), some of which fail on purpose in the ways that real
// servers do.
//
// It is also a template for a TCP server with aio and Asio's sockets: serve() accepts, each
// connection is a task of a group, and cancelling serve() ends them all. It understands just enough
// HTTP/1.1 for GET with kept-alive connections.

#include <aio/aio.hpp>

#include <asio/buffer.hpp>
#include <asio/ip/tcp.hpp>
#include <asio/read_until.hpp>
#include <asio/write.hpp>

#include <chrono>
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

class demo_server {
 public:
  /// A page, and what a client should get from it after up to two retries.
  struct page {
    std::string url;
    int status;         // 0: no answer at all
    std::size_t bytes;  // of the body
  };

  /// Opens a free port. Connections wait there until serve() runs.
  demo_server();

  /// Answers requests until it is cancelled.
  aio::task<> serve();

  std::vector<page> const& pages() const { return pages_; }

 private:
  using tcp = asio::ip::tcp;

  aio::task<> serve_one(tcp::socket socket);

  tcp::acceptor acceptor_{aio::get_running_loop().context(),
                          tcp::endpoint(asio::ip::address_v4::loopback(), 0)};
  std::vector<page> pages_;
  std::map<std::string, int> hits_;  // requests per path, for the pages that only fail at first
};

// ---------------------------------------------------------------- implementation

namespace demo {

inline std::size_t body_size(int number) {
  return 1000 + static_cast<std::size_t>(number) * 7919 % 20000;
}

inline std::chrono::milliseconds delay(int number) {
  return std::chrono::milliseconds(50 + number * 37 % 250);
}

// What the page with this number does.
inline std::string kind(int number) {
  static std::map<int, std::string> const special{
      // clang-format off
      {2, "slow"},    {7, "slow"},   {11, "flaky"},   {13, "missing"}, {17, "busy"},
      {21, "broken"}, {30, "reset"}, {34, "cut"},     {38, "missing"}, {42, "busy"},
      {46, "loop"},   {51, "flaky"}, {58, "noise"},   {63, "missing"}, {67, "busy"},
      {71, "broken"}, {80, "reset"}, {88, "missing"}, {91, "flaky"},
      // clang-format on
  };
  if (auto const found = special.find(number); found != special.end()) return found->second;
  if (number % 10 == 0) return "chunked";
  if (number % 10 == 5) return "moved";
  return "page";
}

inline std::string response(std::string const& status, std::string const& body,
                            std::string const& header = "") {
  return "HTTP/1.1 " + status + "\r\nContent-Length: " + std::to_string(body.size()) + "\r\n" +
         header + "\r\n" + body;
}

// Each chunk: its size in hexadecimal, then its bytes. An empty one is the end.
inline std::string chunked_response(std::string const& body) {
  std::string text = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
  for (std::size_t sent = 0; sent < body.size(); sent += 1024) {
    std::string const chunk = body.substr(sent, 1024);
    char size[20];
    std::snprintf(size, sizeof size, "%zx\r\n", chunk.size());
    text += size + chunk + "\r\n";
  }
  return text + "0\r\n\r\n";
}

struct reply {
  enum ending {
    keep_open,
    close,
    reset,
  };

  std::chrono::milliseconds delay;  // before it is sent
  std::string text;
  ending then = keep_open;
};

// The answer to the request number `hit` for this path: /kind/number.
inline reply reply_to(std::string const& path, int hit) {
  using namespace std::chrono_literals;
  std::size_t const slash = path.rfind('/');
  std::string const kind = slash != 0 && slash != path.npos ? path.substr(1, slash - 1) : "missing";
  int const number = kind == "missing" ? 0 : std::atoi(path.c_str() + slash + 1);
  auto const usual = delay(number);
  std::string const page = response("200 OK", std::string(body_size(number), 'x'));

  if (kind == "page") return {usual, page};
  if (kind == "chunked") return {usual, chunked_response(std::string(body_size(number), 'x'))};
  if (kind == "moved") {
    std::string const target = "/page/" + std::to_string(number);
    return {usual, response("302 Found", "", "Location: " + target + "\r\n")};
  }
  if (kind == "loop") return {10ms, response("302 Found", "", "Location: " + path + "\r\n")};
  if (kind == "slow") return {1h, page};
  if (kind == "broken") return {usual, response("500 Internal Server Error", "broken\n")};
  if (kind == "busy" && hit <= 2) return {usual, response("503 Service Unavailable", "busy\n")};
  if (kind == "busy") return {usual, page};
  if (kind == "flaky" && hit > 1) return {usual, page};
  if (kind == "flaky" || kind == "reset") return {usual, page.substr(0, 200), reply::reset};
  if (kind == "cut") return {usual, page.substr(0, page.size() / 2), reply::close};
  if (kind == "noise") return {usual, "this is not HTTP\r\n", reply::close};
  return {usual, response("404 Not Found", "not found\n")};
}

}  // namespace demo

inline demo_server::demo_server() {
  std::string const root = "http://127.0.0.1:" + std::to_string(acceptor_.local_endpoint().port());
  for (int number = 1; number <= 100; ++number) {
    std::string const kind = demo::kind(number);
    page planned{root + "/" + kind + "/" + std::to_string(number), 200, demo::body_size(number)};
    if (kind == "missing") planned = {planned.url, 404, 10};
    if (kind == "broken") planned = {planned.url, 500, 7};
    if (kind == "slow" || kind == "reset" || kind == "cut" || kind == "loop" || kind == "noise") {
      planned = {planned.url, 0, 0};
    }
    pages_.push_back(planned);
  }
}

inline aio::task<> demo_server::serve() {
  co_await aio::with_task_group([this](aio::task_group& connections) -> aio::task<> {
    for (;;) {
      tcp::socket socket = co_await acceptor_.async_accept(aio::use_awaitable);
      connections.create_task(serve_one(std::move(socket)));
    }
  });
}

inline aio::task<> demo_server::serve_one(tcp::socket socket) {
  using namespace std::chrono_literals;
  try {
    std::string input;
    for (;;) {
      auto buffer = asio::dynamic_buffer(input, 8192);
      std::size_t const size =
          co_await asio::async_read_until(socket, buffer, "\r\n\r\n", aio::use_awaitable);
      std::size_t const begin = input.find(' ') + 1;  // GET /path HTTP/1.1
      std::string const path = input.substr(begin, input.find(' ', begin) - begin);
      input.erase(0, size);

      demo::reply const reply = demo::reply_to(path, ++hits_[path]);
      co_await aio::sleep_for(reply.delay);
      co_await asio::async_write(socket, asio::buffer(reply.text), aio::use_awaitable);
      if (reply.then == demo::reply::close) co_return;
      if (reply.then == demo::reply::reset) {
        co_await aio::sleep_for(20ms);  // lets the client read what was sent
        socket.set_option(asio::socket_base::linger(true, 0));
        socket.close();  // with RST; the destructor would close it without
        co_return;
      }
    }
  } catch (std::system_error const&) {
    // The client has hung up, which is how most connections end.
  }
}
