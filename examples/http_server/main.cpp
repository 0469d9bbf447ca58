// SPDX-License-Identifier: MIT

// Serves the files of a folder by HTTP/1.1, as a beginning for a server of your own.
//
//   http_server folder [port [host [threads]]]     port 8080 of 127.0.0.1, one thread; 0 is any port that is free
//
// Connections are kept, and requests that come before they are answered wait for their turn. Each request has limits,
// in bytes and in time (request.hpp and here), so that slow, endless and garbled ones end. With more threads each has a
// loop of its own, among which the system divides the connections. At Ctrl-C or SIGTERM every request that has begun to
// arrive is answered, with "Connection: close"; a second one ends it at once.
//
// Not here: ranges, conditions, compression, TLS (server_options().tls(...)).

#include <aio/aio.hpp>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <ctime>
#include <exception>
#include <iostream>
#include <memory>
#include <set>
#include <stdexcept>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include "request.hpp"
#include "site.hpp"

using namespace std::chrono_literals;

constexpr auto time_to_arrive = 10s;    // for a request, from its first byte on
constexpr auto time_to_go_on = 30s;     // for the client to take the answer, or a block of it, and to ask for more
constexpr auto time_to_hang_up = 2s;    // for the client, when it has its last answer
constexpr auto time_to_notice = 500ms;  // for requests that are on their way when the server begins to end
constexpr auto time_to_end = 20s;       // for all that is left then

std::string_view text_of(int status) {
  switch (status) {
    case 200: return "200 OK";
    case 400: return "400 Bad Request";
    case 404: return "404 Not Found";
    case 405: return "405 Method Not Allowed";
    case 408: return "408 Request Timeout";
    case 413: return "413 Content Too Large";
    case 431: return "431 Request Header Fields Too Large";
    case 505: return "505 HTTP Version Not Supported";
    default: return "500 Internal Server Error";
  }
}

class connection;

// What the connections of a loop share.
class service {
 public:
  explicit service(std::string const& folder) : files(folder) {}

  site files;
  std::set<connection*> connections;
  bool ends = false;

  void end();

  // A line of every answer, made once a second.
  std::string const& date() {
    std::time_t const now = std::time(nullptr);
    if (now != when_) {
      when_ = now;
      std::tm parts{};
      char text[64];
      (void)std::strftime(text, sizeof text, "Date: %a, %d %b %Y %H:%M:%S GMT\r\n", ::gmtime_r(&now, &parts));
      date_ = text;
    }
    return date_;
  }

 private:
  std::time_t when_ = 0;
  std::string date_;
};

class connection {
 public:
  connection(service& here, aio::stream_reader reader, aio::stream_writer writer)
      : here_(here), reader_(std::move(reader)), writer_(std::move(writer)) {
    here_.connections.insert(this);
  }
  connection(connection const&) = delete;
  ~connection() { here_.connections.erase(this); }

  aio::task<> serve() {
    co_await aio::with_timeout(limit_, [this] { return serve_within_limit(); });
  }
  void too_slow() {
    if (phase_ == phase::receives) write_error(408, false);
    if (phase_ == phase::answers) writer_.abort();
  }
  void hurry() {
    if (phase_ == phase::waits) limit_.reschedule_after(time_to_notice);
  }

 private:
  enum class phase {
    waits,
    receives,
    answers,
    hangs_up,
  };

  aio::task<> serve_within_limit() {
    limit_.reschedule_after(time_to_go_on);
    bool more = true;
    while (more) {
      bool const asked = co_await receive();
      if (!asked) co_return;  // the client has gone
      more = co_await answer();
    }
    // Were it closed while the client still sends, the client could lose answers that it has not read yet.
    phase_ = phase::hangs_up;
    limit_.reschedule_after(time_to_hang_up);
    writer_.write_eof();
    do reader_.consume(reader_.buffer().size());
    while (co_await reader_.fill());
  }

  // A request, or what is wrong with it, is in parser_ then. False: there will be none.
  aio::task<bool> receive() {
    phase_ = phase::waits;
    parser_.next();
    while (!parser_.complete() && parser_.error() == 0) {
      if (reader_.buffer().empty()) {
        if (here_.ends) hurry();
        bool const more = co_await reader_.fill();
        if (!more) co_return false;
      }
      bool const head_is_new = !parser_.head_complete();
      reader_.consume(parser_.feed(reader_.buffer()));
      if (parser_.complete()) break;
      if (phase_ == phase::waits) {
        phase_ = phase::receives;
        limit_.reschedule_after(time_to_arrive);
      }
      if (head_is_new && parser_.head_complete() && parser_.get().expects_continue && parser_.error() == 0) {
        writer_.write("HTTP/1.1 100 Continue\r\n\r\n");
      }
    }
    co_return true;
  }

  // Whether another request may follow.
  aio::task<bool> answer() {
    phase_ = phase::answers;
    if (parser_.error() != 0) {
      write_error(parser_.error(), false);
      co_return false;
    }
    limit_.reschedule_after(time_to_go_on);
    // Requests that are there already are answered even if the server ends.
    bool const keep = parser_.get().keep_alive && (!here_.ends || !reader_.buffer().empty());
    bool const with_body = parser_.get().method != "HEAD";
    if (with_body && parser_.get().method != "GET") {
      write_error(405, keep, "Allow: GET, HEAD\r\n");
    } else {
      auto const found = co_await aio::as_result(here_.files.find(parser_.get().target));
      if (found.cancelled()) found.rethrow();
      if (!found.has_value() || !found.value()) {
        write_error(found.has_value() ? 404 : 500, keep);
      } else {
        site::page const& page = *found.value();
        write(200, keep, page.about, with_body ? page.content : "");
        if (with_body && page.large) co_await send(*page.large, page.size);
      }
    }
    // Several answers to requests that came together go out together.
    if (reader_.buffer().empty() || writer_.write_buffer_size() > enough) co_await writer_.drain();
    co_return keep;
  }

  aio::task<> send(aio::file& file, std::uint64_t size) {
    std::uint64_t at = 0;
    while (at < size) {
      limit_.reschedule_after(time_to_go_on);
      std::uint64_t const sent = co_await aio::sendfile(writer_, file, at, std::min(size - at, block_size));
      if (sent == 0) throw std::system_error(std::make_error_code(std::errc::io_error));  // it became shorter
      at += sent;
    }
  }

  // `about` are lines of the head, each with its end.
  void write(int status, bool keep, std::string_view about, std::string_view body) {
    std::string_view kept;  // as HTTP/1.1 has it without a word
    if (!keep) kept = "Connection: close\r\n";
    if (keep && parser_.get().http_1_0) kept = "Connection: keep-alive\r\n";
    std::string_view const parts[] = {"HTTP/1.1 ", text_of(status), "\r\n", here_.date(), about, kept, "\r\n", body};
    writer_.writelines(parts);
  }
  void write_error(int status, bool keep, std::string_view about = "") {
    std::string const body = std::string(text_of(status)) + "\n";
    write(status, keep, std::string(about) + site::about("text/plain; charset=utf-8", body.size()),
          parser_.get().method == "HEAD" ? "" : body);
  }

  static constexpr std::size_t enough = 64 * 1024;
  static constexpr std::uint64_t block_size = 1024 * 1024;

  service& here_;
  aio::stream_reader reader_;
  aio::stream_writer writer_;
  request_parser parser_;
  aio::timeout limit_;
  phase phase_ = phase::waits;
};

void service::end() {
  ends = true;
  for (connection* each : connections) each->hurry();
}

// Once for each connection. It is closed when this ends: what was written arrives first.
aio::task<> talk(service& here, aio::stream_reader reader, aio::stream_writer writer) {
  connection client(here, std::move(reader), std::move(writer));
  try {
    try {
      co_await client.serve();
    } catch (aio::timeout_error const&) {
      client.too_slow();
    }
  } catch (std::system_error const&) {
    // The connection is lost. That is no error of the server's.
  }
}

struct settings {
  settings(int argc, char** argv) {
    if (argc < 2) throw std::invalid_argument("which folder? http_server folder [port [host [threads]]]");
    folder = argv[1];
    if (argc > 2) port = static_cast<std::uint16_t>(std::stoul(argv[2]));
    if (argc > 3) host = argv[3];
    if (argc > 4) threads = static_cast<unsigned>(std::stoul(argv[4]));
    if (threads > 1 && port == 0) throw std::invalid_argument("several threads need a port to share");
  }

  std::string folder;
  std::uint16_t port = 8080;
  std::string host = "127.0.0.1";
  unsigned threads = 1;
};

// On each loop.
aio::task<> serve(settings with) {
  service here(with.folder);
  auto const handler = [&here](aio::stream_reader reader, aio::stream_writer writer) {
    return talk(here, std::move(reader), std::move(writer));
  };
  auto options = aio::server_options().limit(request_parser::most_in_head).linger(time_to_go_on);
  options.backlog(1024).max_connections(10'000).reuse_port(with.threads > 1);
  auto server = co_await aio::start_server(handler, with.host, with.port, options);
  std::string where;
  for (auto const& each : server.sockets()) where += "serving on " + each.to_string() + "\n";
  std::cout << where << std::flush;

  auto const over = co_await aio::as_result(server.wait_closed());  // Ctrl-C or SIGTERM cancels it
  here.end();
  co_await aio::sleep_for(0s);  // who has connected by now is accepted
  co_await server.shutdown(time_to_end);
  over.value();
}

aio::task<> serve_on(aio::loop_thread& thread, settings with) {
  co_await aio::run_on(thread.loop(), serve, std::move(with));
}

aio::task<> serve_on_all(settings with) {
  std::vector<std::unique_ptr<aio::loop_thread>> others;
  for (unsigned i = 1; i < with.threads; ++i) others.push_back(std::make_unique<aio::loop_thread>());
  co_await aio::with_task_group([&](aio::task_group& all) -> aio::task<> {
    for (auto const& each : others) all.create_task(serve_on(*each, with));
    all.create_task(serve(with));
    co_return;
  });
}

int main(int argc, char** argv) {
  try {
    aio::run(serve_on_all(settings(argc, argv)));
  } catch (std::exception const& error) {
    std::cerr << "http_server: " << error.what() << '\n';
    return 1;
  }
}
