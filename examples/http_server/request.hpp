// SPDX-License-Identifier: MIT
#pragma once

// The requests that the bytes of a connection are, one after the other, each with limits.
//
//   request_parser parser;
//   while (!parser.complete() && parser.error() == 0) bytes.remove_prefix(parser.feed(bytes));
//
// HTTP is parsed by http_parser (Debian: libhttp-parser-dev). Its successor llhttp has the same callbacks: there
// feed() is llhttp_resume() and llhttp_execute(), which returns the error; what was used ends at
// llhttp_get_error_pos(), or is all; on_message_complete returns HPE_PAUSED; and the other four names begin with
// llhttp_.

#include <http_parser.h>

#include <cstddef>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

struct request {
  std::string method;
  std::string target;  // as it was sent: "/a%20b?c"
  std::vector<std::pair<std::string, std::string>> fields;
  std::string body;
  bool http_1_0 = false;
  bool keep_alive = true;  // whether another request may follow it
  bool expects_continue = false;
};

class request_parser {
 public:
  static constexpr std::size_t most_in_head = 16 * 1024;
  static constexpr std::size_t most_fields = 100;
  static constexpr std::size_t most_in_body = 1024 * 1024;

  request_parser() {
    http_parser_init(&parser_, HTTP_REQUEST);
    parser_.data = this;
  }
  request_parser(request_parser const&) = delete;

  /// Takes bytes up to the end of the request, and says how many these were.
  std::size_t feed(std::string_view bytes) {
    http_parser_pause(&parser_, 0);
    std::size_t const used = http_parser_execute(&parser_, &callbacks(), bytes.data(), bytes.size());
    auto const failure = static_cast<http_errno>(parser_.http_errno);
    if (error_ == 0 && failure != HPE_OK && failure != HPE_PAUSED) error_ = failure == HPE_HEADER_OVERFLOW ? 431 : 400;
    return used;
  }
  [[nodiscard]] bool head_complete() const { return head_complete_; }
  [[nodiscard]] bool complete() const { return complete_; }
  /// The status to refuse it with; nothing can be parsed behind it. 0: it is no error so far.
  [[nodiscard]] int error() const { return error_; }
  [[nodiscard]] request const& get() const { return request_; }

  /// Begins the next one.
  void next() {
    request_.method.clear();
    request_.target.clear();
    request_.fields.clear();
    request_.body.clear();
    request_.expects_continue = false;
    head_size_ = 0;
    head_complete_ = complete_ = in_value_ = false;
  }

 private:
  // Each may be called with a part. What is not 0 ends the parsing.
  int on_target(std::string_view part) {
    request_.target += part;
    return count(part);
  }
  int on_field(std::string_view part) {
    if (head_complete_) return count(part);  // behind the last chunk of a body: counted, and dropped
    if (in_value_ || request_.fields.empty()) request_.fields.emplace_back();
    in_value_ = false;
    request_.fields.back().first += part;
    return request_.fields.size() > most_fields ? fail(431) : count(part);
  }
  int on_value(std::string_view part) {
    if (head_complete_) return count(part);
    in_value_ = true;
    request_.fields.back().second += part;
    return count(part);
  }
  int on_head() {
    head_complete_ = true;
    if (parser_.http_major != 1) return fail(505);
    request_.method = http_method_str(static_cast<http_method>(parser_.method));
    request_.http_1_0 = parser_.http_minor == 0;
    request_.keep_alive = http_should_keep_alive(&parser_) != 0;
    parser_.upgrade = 0;  // HTTP/1.1 is all there is
    std::size_t hosts = 0;
    for (auto const& [name, value] : request_.fields) {
      if (same(name, "host")) ++hosts;
      if (same(name, "expect") && same(value, "100-continue")) request_.expects_continue = !request_.http_1_0;
    }
    if (hosts > 1 || (hosts == 0 && !request_.http_1_0)) return fail(400);
    bool const long_body = (parser_.flags & F_CONTENTLENGTH) != 0 && parser_.content_length > most_in_body;
    return long_body ? fail(413) : 0;
  }
  int on_body(std::string_view part) {
    request_.body += part;
    return request_.body.size() > most_in_body ? fail(413) : 0;
  }
  int on_end() {
    complete_ = true;
    http_parser_pause(&parser_, 1);  // what follows is the next request
    return 0;
  }

  int count(std::string_view part) {
    head_size_ += part.size();
    return head_size_ > most_in_head ? fail(431) : 0;
  }
  int fail(int status) {
    error_ = status;
    return -1;
  }
  static bool same(std::string_view text, std::string_view lower_case) {
    if (text.size() != lower_case.size()) return false;
    for (std::size_t i = 0; i < text.size(); ++i) {
      char const letter = text[i];
      if ((letter >= 'A' && letter <= 'Z' ? letter - 'A' + 'a' : letter) != lower_case[i]) return false;
    }
    return true;
  }

  template <int (request_parser::*member)(std::string_view)>
  static int with_part(http_parser* parser, char const* begin, std::size_t size) {
    return (static_cast<request_parser*>(parser->data)->*member)({begin, size});
  }
  template <int (request_parser::*member)()>
  static int without_part(http_parser* parser) {
    return (static_cast<request_parser*>(parser->data)->*member)();
  }
  static http_parser_settings const& callbacks() {
    static http_parser_settings const all = [] {
      http_parser_settings made;
      http_parser_settings_init(&made);
      made.on_url = with_part<&request_parser::on_target>;
      made.on_header_field = with_part<&request_parser::on_field>;
      made.on_header_value = with_part<&request_parser::on_value>;
      made.on_headers_complete = without_part<&request_parser::on_head>;
      made.on_body = with_part<&request_parser::on_body>;
      made.on_message_complete = without_part<&request_parser::on_end>;
      return made;
    }();
    return all;
  }

  http_parser parser_{};
  request request_;
  std::size_t head_size_ = 0;
  int error_ = 0;
  bool head_complete_ = false;
  bool complete_ = false;
  bool in_value_ = false;
};
