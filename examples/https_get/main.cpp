// SPDX-License-Identifier: MIT

// Gets several https URLs at once over TLS, and says of each what came of it.
//
//   https_get [--timeout seconds] [--ca file.pem] [--cert chain.pem --key key.pem] [--body] url...
//
//   --timeout   for each of them, from looking up the host to the last byte: 10
//   --ca        trusts the authorities in that file in place of the system's
//   --cert      shows that certificate to servers that ask for one, whose key is that of --key
//   --body      prints the bodies, in the order of the arguments
//
// Prints a line for each as soon as it is there: the status, the bytes of the body and the URL, or why there is none. A
// certificate that is not the host's, or that nobody vouches for, is an error, and so is an answer that was cut short.
// Exit status: 0 if every status is below 400, 1 if not, 2 if the command line is wrong.

#include <aio/aio.hpp>
#include <aio/tls.hpp>

#include <algorithm>
#include <cctype>
#include <charconv>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <iostream>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

constexpr std::size_t largest_body = 64 * 1024 * 1024;

struct address {
  std::string host;
  std::uint16_t port = 443;
  std::string path;
};

template <class Number>
Number number_of(std::string_view text, int base, char const* what) {
  Number number{};
  auto const [end, error] = std::from_chars(text.data(), text.data() + text.size(), number, base);
  if (error != std::errc() || end != text.data() + text.size()) {
    throw std::runtime_error("this is no " + std::string(what) + ": " + std::string(text));
  }
  return number;
}

// https://host[:port][/path], where the host may be an [IPv6 address].
address parse(std::string_view url) {
  constexpr std::string_view scheme = "https://";
  if (!url.starts_with(scheme)) throw std::runtime_error("only https:// URLs are got");
  if (std::any_of(url.begin(), url.end(), [](unsigned char each) { return each <= ' ' || each == 127; })) {
    throw std::runtime_error("a URL has no spaces and no control characters");
  }
  url.remove_prefix(scheme.size());
  url = url.substr(0, url.find('#'));
  std::size_t const end = std::min(url.find_first_of("/?"), url.size());
  std::string_view authority = url.substr(0, end);
  address found;
  found.path = url.substr(end);
  if (!found.path.starts_with('/')) found.path.insert(0, "/");
  std::size_t const bracket = authority.starts_with('[') ? authority.find(']') : 0;
  if (bracket == authority.npos) throw std::runtime_error("the bracket of the host is not closed");
  std::size_t const colon = authority.find(':', bracket);
  if (colon != authority.npos) {
    found.port = number_of<std::uint16_t>(authority.substr(colon + 1), 10, "port");
    authority = authority.substr(0, colon);
  }
  found.host = bracket > 0 ? authority.substr(1, bracket - 1) : authority;
  if (found.host.empty()) throw std::runtime_error("there is no host in it");
  return found;
}

struct answer {
  int status = 0;
  std::string body;
};

bool same(std::string_view a, std::string_view b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](unsigned char x, unsigned char y) {
    return std::tolower(x) == std::tolower(y);
  });
}

std::string_view trimmed(std::string_view text) {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
  while (!text.empty() && (text.back() == ' ' || text.back() == '\t')) text.remove_suffix(1);
  return text;
}

// A line of the head, in memory of its own.
aio::task<std::string> next_line(aio::stream_reader& reader) {
  auto const line = co_await reader.next_line();
  if (!line) throw std::runtime_error("the server ended in the middle of its answer");
  co_return std::string(*line);
}

aio::task<> append(std::string& body, aio::stream_reader& reader, std::size_t count) {
  if (count > largest_body - body.size()) throw std::runtime_error("the answer is too large");
  body += co_await reader.readexactly(count);
}

aio::task<answer> read_answer(aio::stream_reader& reader) {
  answer got;
  std::optional<std::size_t> length;
  bool chunked = false;
  do {  // an answer of 1xx comes before another one
    std::string const first = co_await next_line(reader);
    if (!first.starts_with("HTTP/1.") || first.size() < 12) throw std::runtime_error("this is no HTTP: " + first);
    got.status = number_of<int>(std::string_view(first).substr(9, 3), 10, "status");
    for (int lines = 0;; ++lines) {
      std::string const line = co_await next_line(reader);
      if (line.empty()) break;
      if (lines == 200) throw std::runtime_error("the head of the answer does not end");
      std::size_t const colon = std::min(line.find(':'), line.size());
      std::string_view const name = std::string_view(line).substr(0, colon);
      std::string_view const value = trimmed(std::string_view(line).substr(std::min(colon + 1, line.size())));
      if (same(name, "content-length")) length = number_of<std::size_t>(value, 10, "length");
      if (same(name, "transfer-encoding")) chunked = same(value, "chunked");
    }
  } while (got.status >= 100 && got.status < 200);

  if (got.status == 204 || got.status == 304) co_return got;
  if (chunked) {
    for (;;) {
      std::string const line = co_await next_line(reader);
      std::string_view const digits = trimmed(std::string_view(line).substr(0, line.find(';')));
      auto const size = number_of<std::size_t>(digits, 16, "size of a chunk");
      if (size == 0) break;
      co_await append(got.body, reader, size);
      (void)co_await next_line(reader);
    }
  } else if (length) {
    co_await append(got.body, reader, *length);
  } else {
    for (;;) {  // to the end, which TLS vouches for
      std::string const piece = co_await reader.read(65536);
      if (piece.empty()) break;
      if (piece.size() > largest_body - got.body.size()) throw std::runtime_error("the answer is too large");
      got.body += piece;
    }
  }
  co_return got;
}

aio::task<answer> get(std::string url, aio::tls_context context) {
  address const from = parse(url);
  auto [reader, writer] =
      co_await aio::open_connection(from.host, from.port, aio::connect_options().tls(std::move(context)));
  std::string host = from.host.find(':') == from.host.npos ? from.host : "[" + from.host + "]";
  if (from.port != 443) host += ":" + std::to_string(from.port);
  writer.write("GET " + from.path + " HTTP/1.1\r\nHost: " + host +
               "\r\nUser-Agent: aio-https_get\r\nAccept: */*\r\nConnection: close\r\n\r\n");
  co_await writer.drain();
  answer got = co_await read_answer(reader);
  writer.close();
  co_return got;
}

struct options {
  explicit options(std::vector<std::string> const& arguments);

  std::chrono::duration<double> timeout{10};
  std::optional<std::string> authorities;
  std::optional<std::string> certificate;
  std::optional<std::string> key;
  bool bodies = false;
  std::vector<std::string> urls;
};

options::options(std::vector<std::string> const& arguments) {
  for (std::size_t at = 0; at < arguments.size(); ++at) {
    std::string const& each = arguments[at];
    bool const has_value = at + 1 < arguments.size();
    if (each == "--body") {
      bodies = true;
    } else if (each == "--timeout" && has_value) {
      timeout = std::chrono::seconds(number_of<std::uint32_t>(arguments[++at], 10, "number of seconds"));
    } else if (each == "--ca" && has_value) {
      authorities = arguments[++at];
    } else if (each == "--cert" && has_value) {
      certificate = arguments[++at];
    } else if (each == "--key" && has_value) {
      key = arguments[++at];
    } else if (each.starts_with("--")) {
      throw std::runtime_error("unknown, or without its value: " + each);
    } else {
      urls.push_back(each);
    }
  }
  if (urls.empty()) throw std::runtime_error("give at least one https:// URL");
}

// Never fails but by a cancellation: what went wrong is printed in the place of the status.
aio::task<answer> get_one(std::string url, aio::tls_context context, std::chrono::nanoseconds timeout) {
  std::string why;
  try {
    answer got = co_await aio::wait_for(get(url, std::move(context)), timeout);
    std::cout << got.status << ' ' << got.body.size() << ' ' << url << std::endl;
    co_return got;
  } catch (aio::timeout_error const&) {
    why = "no answer in time";
  } catch (std::exception const& error) {
    why = error.what();
  }
  std::cout << "failed " << url << ": " << why << std::endl;
  co_return answer{};
}

aio::task<int> get_all(options what) {
  auto context = what.authorities ? aio::tls_context::client(*what.authorities) : aio::tls_context::client();
  if (what.certificate) context.certificate(*what.certificate, what.key.value_or(*what.certificate));
  context.alpn({"http/1.1"});
  auto const timeout = std::chrono::duration_cast<std::chrono::nanoseconds>(what.timeout);
  std::vector<aio::task<answer>> all;
  for (std::string const& url : what.urls) all.push_back(get_one(url, context, timeout));
  std::vector<answer> const answers = co_await aio::gather(std::move(all));
  if (what.bodies) {
    for (answer const& each : answers) std::cout << each.body;
  }
  bool const good = std::all_of(answers.begin(), answers.end(),
                                [](answer const& each) { return each.status >= 200 && each.status < 400; });
  co_return good ? 0 : 1;
}

int main(int argc, char** argv) {
  try {
    return aio::run(get_all(options({argv + 1, argv + argc})));
  } catch (std::exception const& error) {
    std::cerr << "https_get: " << error.what() << '\n';
    return 2;
  }
}
