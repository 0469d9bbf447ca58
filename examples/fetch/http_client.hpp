// SPDX-License-Identifier: MIT
#pragma once

// libcurl as an awaitable: many HTTP requests at once on the event loop's one thread.
//
//   http_client client;
//   http_response page = co_await client.get("https://example.org/");
//   std::cout << page.status << ' ' << page.body.size() << '\n';
//
// Why libcurl and not a parser of our own: TLS, redirects, chunked and compressed bodies, proxies,
// kept-alive connections and HTTP/2 are its trade, and its "multi socket" interface leaves the
// waiting to somebody else. It says which sockets to watch (on_socket) and when to call it at the
// latest (on_timer); the loop does both (add_reader and add_writer, call_later), and each transfer
// that curl reports as finished completes the future that its task awaits. A library of callbacks
// becomes an awaitable.

#include <aio/aio.hpp>

#include <curl/curl.h>
#include <unistd.h>

#include <chrono>
#include <cstddef>
#include <new>
#include <stdexcept>
#include <string>
#include <unordered_set>
#include <utility>

struct http_response {
  int status;        // of the last answer, after redirects
  std::string body;  // decoded: neither chunked nor compressed any more
};

/// There was no complete answer: no such host, refused, reset, cut short, not HTTP, too many
/// redirects...
class http_error : public std::runtime_error {
  using runtime_error::runtime_error;
};

/// Fetches pages, and keeps connections open for the next request to the same server.
///
/// Lifetime: must outlive the tasks of its get() calls.
/// Threads: belongs to the loop it was created on.
class http_client {
 public:
  http_client();
  ~http_client();
  http_client(http_client const&) = delete;
  http_client& operator=(http_client const&) = delete;

  /// Fetches one page, following redirects. Every status is an answer, also 404 and 500.
  ///
  /// Throws: http_error when there was no complete answer.
  /// Cancelled: the request is given up and its connection closed at once, so
  /// `aio::wait_for(client.get(url), 5s)` works.
  aio::task<http_response> get(std::string url);

 private:
  struct transfer;

  static int on_socket(CURL*, curl_socket_t socket, int events, void* self, void*) noexcept;
  static int on_close(void* self, curl_socket_t socket) noexcept;
  static int on_timer(CURLM*, long milliseconds, void* self) noexcept;
  void watch(curl_socket_t socket, int events);
  void forget(curl_socket_t socket) noexcept;
  void act(curl_socket_t socket, int what);

  aio::event_loop& loop_ = aio::get_running_loop();
  std::unordered_set<curl_socket_t> watched_;  // sockets of curl's
  aio::callback_handle timer_;
  CURLM* multi_;
};

// ---------------------------------------------------------------- implementation

// One request on its way, in the frame of the coroutine that waits for it: whatever ends the
// coroutine ends the request.
struct http_client::transfer {
  transfer(http_client& owner, std::string const& url) : client(owner), easy(curl_easy_init()) {
    if (!easy) throw std::bad_alloc();
    curl_easy_setopt(easy, CURLOPT_URL, url.c_str());
    curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(easy, CURLOPT_REDIR_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(easy, CURLOPT_FOLLOWLOCATION, 1L);
    curl_easy_setopt(easy, CURLOPT_MAXREDIRS, 10L);
    curl_easy_setopt(easy, CURLOPT_ACCEPT_ENCODING, "");  // whatever curl can decode
    curl_easy_setopt(easy, CURLOPT_USERAGENT, "aio-fetch/1.0");
    curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(easy, CURLOPT_QUICK_EXIT, 1L);  // giving up does not wait for a name server
    curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, message);
    curl_easy_setopt(easy, CURLOPT_PRIVATE, this);
    curl_easy_setopt(easy, CURLOPT_WRITEDATA, this);
    curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, &transfer::on_data);
    curl_easy_setopt(easy, CURLOPT_CLOSESOCKETDATA, &client);
    curl_easy_setopt(easy, CURLOPT_CLOSESOCKETFUNCTION, &http_client::on_close);
  }

  ~transfer() {
    curl_multi_remove_handle(client.multi_, easy);
    curl_easy_cleanup(easy);
  }

  transfer(transfer const&) = delete;
  transfer& operator=(transfer const&) = delete;

  static std::size_t on_data(char* data, std::size_t, std::size_t size, void* self) noexcept {
    try {
      static_cast<transfer*>(self)->body.append(data, size);
      return size;
    } catch (...) {  // out of memory: curl ends the transfer with CURLE_WRITE_ERROR
      return 0;
    }
  }

  http_client& client;
  CURL* easy;
  aio::future<CURLcode> done;
  std::string body;
  char message[CURL_ERROR_SIZE] = "";
};

inline http_client::http_client() {
  static CURLcode const initialised = curl_global_init(CURL_GLOBAL_DEFAULT);
  multi_ = curl_multi_init();
  if (initialised != CURLE_OK || !multi_) throw http_error("cannot start libcurl");
  curl_multi_setopt(multi_, CURLMOPT_SOCKETFUNCTION, &http_client::on_socket);
  curl_multi_setopt(multi_, CURLMOPT_SOCKETDATA, this);
  curl_multi_setopt(multi_, CURLMOPT_TIMERFUNCTION, &http_client::on_timer);
  curl_multi_setopt(multi_, CURLMOPT_TIMERDATA, this);
}

inline http_client::~http_client() {
  curl_multi_cleanup(multi_);  // closes the connections, which calls on_socket
  timer_.cancel();
  while (!watched_.empty()) forget(*watched_.begin());
}

inline aio::task<http_response> http_client::get(std::string url) {
  transfer request(*this, url);
  CURLMcode const started = curl_multi_add_handle(multi_, request.easy);
  if (started != CURLM_OK) throw http_error(curl_multi_strerror(started));
  CURLcode const code = co_await request.done;
  if (code != CURLE_OK)
    throw http_error(*request.message ? request.message : curl_easy_strerror(code));
  long status = 0;
  curl_easy_getinfo(request.easy, CURLINFO_RESPONSE_CODE, &status);
  co_return http_response{static_cast<int>(status), std::move(request.body)};
}

// curl: "watch this socket for these events", or "no more".
inline int http_client::on_socket(CURL*, curl_socket_t socket, int events, void* self,
                                  void*) noexcept {
  auto& client = *static_cast<http_client*>(self);
  if (events == CURL_POLL_REMOVE) {
    client.forget(socket);
    return 0;
  }
  try {
    client.watch(socket, events);
    return 0;
  } catch (...) {
    return -1;  // curl fails the transfers
  }
}

inline void http_client::watch(curl_socket_t socket, int events) {
  watched_.insert(socket);
  if (events & CURL_POLL_IN) {
    loop_.add_reader(socket, [this, socket] { act(socket, CURL_CSELECT_IN); });
  } else {
    loop_.remove_reader(socket);
  }
  if (events & CURL_POLL_OUT) {
    loop_.add_writer(socket, [this, socket] { act(socket, CURL_CSELECT_OUT); });
  } else {
    loop_.remove_writer(socket);
  }
}

inline void http_client::forget(curl_socket_t socket) noexcept {
  if (watched_.erase(socket) == 0) return;
  loop_.remove_reader(socket);
  loop_.remove_writer(socket);
}

// curl: "close this socket". Usually it has said CURL_POLL_REMOVE before, but not every release
// does on every path, and the loop must not go on watching a number that the next socket may get.
inline int http_client::on_close(void* self, curl_socket_t socket) noexcept {
  static_cast<http_client*>(self)->forget(socket);
  return ::close(socket);
}

// curl: "call me in this many milliseconds", or (-1) "no need". It forbids calling it from in here.
inline int http_client::on_timer(CURLM*, long milliseconds, void* self) noexcept {
  auto& client = *static_cast<http_client*>(self);
  client.timer_.cancel();
  if (milliseconds < 0) return 0;
  try {
    auto const delay = std::chrono::milliseconds(milliseconds);
    client.timer_ =
        client.loop_.call_later(delay, [&client] { client.act(CURL_SOCKET_TIMEOUT, 0); });
    return 0;
  } catch (...) {
    return -1;
  }
}

// Lets curl work, then wakes the tasks whose transfers have ended.
inline void http_client::act(curl_socket_t socket, int what) {
  int running = 0;
  curl_multi_socket_action(multi_, socket, what, &running);
  int left = 0;
  while (CURLMsg const* message = curl_multi_info_read(multi_, &left)) {
    if (message->msg != CURLMSG_DONE) continue;
    transfer* ended = nullptr;
    curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &ended);
    if (!ended->done.done())
      ended->done.set_result(message->data.result);  // done: cancelled just now
  }
}
