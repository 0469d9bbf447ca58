// SPDX-License-Identifier: MIT
#pragma once

// One file by HTTP: what a URL says, the request, and an answer that goes into a file as it comes.

#include <aio/aio.hpp>

#include <cctype>
#include <charconv>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>

struct http_url {
  std::string host;
  std::uint16_t port = 80;
  std::string path = "/";

  // Throws: std::invalid_argument.
  static http_url parse(std::string_view text) {
    http_url url;
    std::string_view const scheme = "http://";
    if (!text.starts_with(scheme)) throw std::invalid_argument("not an http URL");
    text.remove_prefix(scheme.size());
    auto const slash = text.find('/');
    std::string_view authority = text.substr(0, slash);
    if (slash != text.npos) url.path = text.substr(slash);
    if (auto const colon = authority.rfind(':'); colon != authority.npos) {
      auto const number = authority.substr(colon + 1);
      auto const [end, error] = std::from_chars(number.data(), number.data() + number.size(), url.port);
      if (error != std::errc() || end != number.data() + number.size()) throw std::invalid_argument("no port");
      authority = authority.substr(0, colon);
    }
    url.host = authority;
    return url;
  }

  // The last part of the path, which is no folder.
  std::string file_name() const {
    std::string_view name = path;
    name = name.substr(0, name.find_first_of("?#"));
    name = name.substr(name.rfind('/') + 1);
    return name.empty() || name == "." || name == ".." ? "index.html" : std::string(name);
  }
};

struct bad_status : std::runtime_error {
  explicit bad_status(int code) : std::runtime_error("status " + std::to_string(code)), status(code) {}
  int status;
};

// A file under another name, until it is whole: nobody takes a part for all of it.
class partial_file {
 public:
  explicit partial_file(std::filesystem::path target) : target_(std::move(target)), path_(target_) { path_ += ".part"; }
  partial_file(partial_file const&) = delete;
  ~partial_file() {
    std::error_code ignored;
    if (!whole_) std::filesystem::remove(path_, ignored);
  }
  std::filesystem::path const& path() const { return path_; }
  void is_whole() {
    std::filesystem::rename(path_, target_);
    whole_ = true;
  }

 private:
  std::filesystem::path target_;
  std::filesystem::path path_;
  bool whole_ = false;
};

// How long the answer will be, if it says so. Throws: bad_status unless it is 200.
inline aio::task<std::optional<std::uintmax_t>> read_head(aio::stream_reader& reader) {
  auto const first = co_await reader.next_line();  // HTTP/1.1 200 OK
  int status = 0;
  if (first && first->size() >= 12) std::from_chars(first->data() + 9, first->data() + 12, status);
  if (status == 0) throw std::runtime_error("not an answer of HTTP");
  if (status != 200) throw bad_status(status);

  std::optional<std::uintmax_t> length;
  std::string_view const name = "content-length:";
  while (auto const line = co_await reader.next_line()) {
    if (line->empty()) co_return length;
    std::string field(*line);
    for (char& c : field) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    if (!field.starts_with(name)) continue;
    auto const digit = field.find_first_not_of(' ', name.size());
    std::uintmax_t number = 0;
    if (digit != field.npos) std::from_chars(field.data() + digit, field.data() + field.size(), number);
    length = number;
  }
  throw std::runtime_error("the answer was cut short");
}

// Gives its size. By HTTP/1.0, in which an answer ends with its connection, and is not in chunks.
inline aio::task<std::uintmax_t> download(http_url const& url, std::filesystem::path const& target) {
  auto [reader, writer] = co_await aio::open_connection(url.host, url.port);
  co_await writer.send("GET " + url.path + " HTTP/1.0\r\nHost: " + url.host + "\r\n\r\n");
  auto const length = co_await read_head(reader);

  partial_file part(target);
  using enum aio::file_mode;
  auto file = co_await aio::file::open(part.path(), write | create | truncate);
  std::uintmax_t bytes = 0;
  while (true) {
    std::string piece = co_await reader.read(64 * 1024);  // what is there, at most so much
    if (piece.empty()) break;
    bytes += piece.size();
    co_await file.write(std::move(piece));
  }
  if (length && bytes != *length) throw std::runtime_error("the answer was cut short");
  co_await file.close();
  part.is_whole();
  co_return bytes;
}
