// SPDX-License-Identifier: MIT

// One end of connections whose other end is not of aio's, for the scripts beside this.
//
//   peer serve ADDRESS TALK [ADDRESS TALK]...     says "serving" when it does
//   peer connect ADDRESS TALK [COUNT]             so many connections at once
//
// An ADDRESS is one of
//   tcp:HOST:PORT
//   unix:PATH                    of "@" and a name: an abstract one
//   tls:HOST:PORT:FILE[:FILE]    a server's certificate and key, a client's authorities
//   file:PATH                    what can be opened and read and written, as a terminal; to connect to only
//   udp:HOST:PORT                with echo to serve, and exact to connect, where each datagram waits for its answer
//
// and a TALK, which either side can do,
//   echo                 sends back what comes, and ends when the other does
//   lines                the same by lines, with their numbers: "1: what came"
//   blocks:COUNT:BYTES   sends so many blocks and then its end, and receives up to the other's meanwhile
//   exact:COUNT:BYTES    the same, but receives as much as it has sent, and ends then
//   reset                takes a line, and resets the connection
//   endless              sends without an end, and receives nothing
//   relay:ADDRESS        passes all on to there, and what comes from there back, each with its end
//   stdio                the same with its own standard input and output; not to serve
//
// Each connection prints a line, "exact: sent N BYTES CRC, received N BYTES CRC", and what was wrong with it.

#include "aio/tls.hpp"

#include <array>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <exception>
#include <functional>
#include <iomanip>
#include <iostream>
#include <random>
#include <sstream>
#include <stdexcept>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include <fcntl.h>
#include <unistd.h>

#include "aio/aio.hpp"

namespace {

std::vector<std::string> split(std::string const& text) {
  std::vector<std::string> parts;
  std::istringstream stream(text);
  for (std::string part; std::getline(stream, part, ':');) parts.push_back(part);
  return parts;
}

/// What went one way, and the checksum that Python has as zlib.crc32().
class passed {
 public:
  void add(std::string_view bytes) {
    count_ += bytes.size();
    for (char const each : bytes) {
      crc_ = table[(crc_ ^ static_cast<unsigned char>(each)) & 0xff] ^ (crc_ >> 8);
    }
  }
  std::uint64_t count() const { return count_; }
  std::string text() const {
    std::ostringstream text;
    text << count_ << " bytes " << std::hex << std::setw(8) << std::setfill('0') << ~crc_;
    return text.str();
  }

 private:
  static constexpr auto table = [] {
    std::array<std::uint32_t, 256> made{};
    for (std::uint32_t n = 0; n < 256; ++n) {
      std::uint32_t value = n;
      for (int bit = 0; bit < 8; ++bit) value = (value & 1) != 0 ? 0xedb88320U ^ (value >> 1) : value >> 1;
      made[n] = value;
    }
    return made;
  }();

  std::uint64_t count_ = 0;
  std::uint32_t crc_ = ~std::uint32_t{0};
};

struct conversation {
  passed sent;
  passed received;
};

aio::task<> pass_on(aio::stream_reader& from, aio::stream_writer& to, passed& seen) {
  std::array<char, 65536> block;
  while (std::size_t const count = co_await from.read_some(block)) {
    seen.add({block.data(), count});
    co_await to.send({block.data(), count});
  }
}

/// The same up to an end that is passed on, too; an error ends both.
aio::task<> pass_all_on(aio::stream_reader& from, aio::stream_writer& to, passed& seen, aio::stream_writer& back) {
  try {
    co_await pass_on(from, to, seen);
    to.write_eof();
  } catch (std::exception const&) {
    to.abort();
    back.abort();
    throw;
  }
}

aio::task<> answer_lines(aio::stream_reader& reader, aio::stream_writer& writer, conversation& seen) {
  for (int number = 1; auto const line = co_await reader.next_line(); ++number) {
    std::string const answer = std::to_string(number) + ": " + std::string(*line) + "\n";
    seen.received.add(*line);
    seen.sent.add(answer);
    writer.write(answer);
    co_await writer.drain();
  }
}

aio::task<> send_blocks(aio::stream_writer& writer, std::uint64_t count, std::size_t size, bool ends, passed& sent) {
  std::mt19937 random(std::random_device{}());
  std::string block(size, '\0');
  for (std::uint64_t number = 0; number < count; ++number) {
    for (std::size_t at = 0; at < size; at += number == 0 ? 1 : 997) block[at] = static_cast<char>(random());
    sent.add(block);
    co_await writer.send(block);
  }
  if (ends) writer.write_eof();
}

aio::task<> receive(aio::stream_reader& reader, std::uint64_t at_most, passed& received) {
  std::array<char, 65536> block;
  while (received.count() < at_most) {
    std::size_t const count = co_await reader.read_some(block);
    if (count == 0) break;
    received.add({block.data(), count});
  }
}

aio::task<aio::stream_pair> open(std::string address);

aio::task<> talk_as(std::vector<std::string> const& how, std::string const& whole, aio::stream_reader& reader,
                    aio::stream_writer& writer, conversation& seen) {
  std::string const& what = how.at(0);
  if (what == "echo") {
    co_await pass_on(reader, writer, seen.received);
    seen.sent = seen.received;
  } else if (what == "lines") {
    co_await answer_lines(reader, writer, seen);
  } else if (what == "blocks" || what == "exact") {
    std::uint64_t const count = std::stoull(how.at(1));
    std::size_t const size = std::stoull(how.at(2));
    bool const ends = what == "blocks";
    co_await aio::gather(send_blocks(writer, count, size, ends, seen.sent),
                         receive(reader, ends ? UINT64_MAX : count * size, seen.received));
  } else if (what == "reset") {
    auto const line = co_await reader.next_line();
    if (line) seen.received.add(*line);
    writer.abort();
  } else if (what == "endless") {
    co_await send_blocks(writer, UINT64_MAX, 65536, true, seen.sent);
  } else if (what == "relay") {
    auto [other_reader, other_writer] = co_await open(whole.substr(what.size() + 1));
    co_await aio::gather(pass_all_on(reader, other_writer, seen.received, writer),
                         pass_all_on(other_reader, writer, seen.sent, other_writer));
    other_writer.close();
    co_await other_writer.wait_closed();
  } else if (what == "stdio") {
    auto input = aio::open_stdin();
    auto output = aio::open_stdout();
    auto const send = [&]() -> aio::task<> {
      co_await pass_all_on(input, writer, seen.sent, writer);
      aio::event never;
      co_await never.wait();
    };
    (void)co_await aio::race(pass_on(reader, output, seen.received), send());  // it ends when the other has
  } else {
    throw std::invalid_argument("no such talk: " + whole);
  }
}

void tell(std::string const& what, conversation const& seen, std::string const& wrong) {
  (what == "stdio" ? std::cerr : std::cout) << what + ": sent " + seen.sent.text() + ", received " +
                                                   seen.received.text() + (wrong.empty() ? "" : ", " + wrong) + "\n"
                                            << std::flush;
}

/// Whether nothing was wrong
aio::task<bool> talk(std::string whole, aio::stream_reader reader, aio::stream_writer writer) {
  auto const how = split(whole);
  conversation seen;
  std::string wrong;
  try {
    co_await talk_as(how, whole, reader, writer, seen);
    writer.close();
    co_await writer.wait_closed();
  } catch (aio::system_error const& error) {
    wrong = error.code().message();
  }
  tell(how.at(0), seen, wrong);
  co_return wrong.empty();
}

std::string path_of(std::string const& address) {
  std::string path = address.substr(address.find(':') + 1);
  if (path.starts_with('@')) path[0] = '\0';
  return path;
}

std::uint16_t port_of(std::vector<std::string> const& parts) {
  return static_cast<std::uint16_t>(std::stoul(parts.at(2)));
}

aio::task<aio::stream_pair> open(std::string address) {
  auto const parts = split(address);
  if (parts.at(0) == "unix") co_return co_await aio::open_unix_connection(path_of(address));
  if (parts.at(0) == "file") {
    int const file = ::open(path_of(address).c_str(), O_RDWR | O_NOCTTY | O_CLOEXEC);
    if (file < 0) throw aio::system_error(errno, aio::generic_category(), address);
    auto reader = aio::connect_read_pipe(::fcntl(file, F_DUPFD_CLOEXEC, 0));
    co_return aio::stream_pair(std::move(reader), aio::connect_write_pipe(file));
  }
  aio::connect_options options;
  if (parts.at(0) == "tls") options.tls(aio::tls_context::client(parts.at(3)));
  co_return co_await aio::open_connection(parts.at(1), port_of(parts), options);
}

aio::task<> echo_datagrams(aio::datagram_socket socket) {
  for (;;) {
    aio::datagram const got = co_await socket.receive();
    co_await socket.sendto(got.data, got.from);
  }
}

aio::task<bool> exchange_datagrams(std::string address, std::string whole) {
  auto const parts = split(address);
  auto const how = split(whole);
  auto socket = co_await aio::open_datagram(aio::datagram_options().remote_address(parts.at(1), port_of(parts)));
  std::string data(std::stoull(how.at(2)), '\0');
  conversation seen;
  std::string wrong;
  try {
    for (std::uint64_t number = 0; number < std::stoull(how.at(1)); ++number) {
      for (std::size_t at = 0; at < data.size(); ++at) data[at] = static_cast<char>(number + at);
      co_await socket.send(data);
      seen.sent.add(data);
      aio::datagram const got = co_await aio::wait_for(socket.receive(), std::chrono::seconds(10));
      seen.received.add(got.data);
    }
  } catch (std::exception const& error) {
    wrong = error.what();
  }
  tell(how.at(0), seen, wrong);
  co_return wrong.empty();
}

aio::task<aio::server> listen(std::string address, std::string whole) {
  auto const handler = [whole](aio::stream_reader reader, aio::stream_writer writer) -> aio::task<> {
    (void)co_await talk(whole, std::move(reader), std::move(writer));
  };
  auto const parts = split(address);
  if (parts.at(0) == "unix") co_return co_await aio::start_unix_server(handler, path_of(address));
  aio::server_options options;
  if (parts.at(0) == "tls") options.tls(aio::tls_context::server(parts.at(3), parts.at(4)));
  co_return co_await aio::start_server(handler, parts.at(1), port_of(parts), options);
}

aio::task<> serve(std::vector<std::string> words) {
  std::vector<aio::server> servers;
  std::vector<aio::task<>> serving;
  for (std::size_t at = 0; at + 1 < words.size(); at += 2) {
    auto const parts = split(words[at]);
    if (parts.at(0) == "udp") {
      auto const options = aio::datagram_options().local_address(parts.at(1), port_of(parts));
      serving.push_back(echo_datagrams(co_await aio::open_datagram(options)));
    } else {
      servers.push_back(co_await listen(words[at], words[at + 1]));
    }
  }
  std::cout << "serving" << std::endl;
  for (auto& each : servers) serving.push_back(each.serve_forever());
  co_await aio::gather(std::move(serving));
}

aio::task<bool> connect_once(std::string address, std::string whole) {
  if (address.starts_with("udp:")) co_return co_await exchange_datagrams(address, whole);
  auto [reader, writer] = co_await open(address);
  bool const good = co_await talk(whole, std::move(reader), std::move(writer));
  co_return good;
}

aio::task<bool> connect(std::string address, std::string whole, int count) {
  std::vector<aio::task<bool>> connections;
  for (int n = 0; n < count; ++n) connections.push_back(connect_once(address, whole));
  auto const good = co_await aio::gather(std::move(connections));
  bool all = true;
  for (bool const each : good) all = all && each;
  co_return all;
}

}  // namespace

int main(int argc, char** argv) {
  std::vector<std::string> words(argv + 1, argv + argc);
  if (words.size() < 3) return 2;
  std::string const mode = words.front();
  words.erase(words.begin());
  try {
    if (mode == "serve") {
      aio::run(serve(words));
      return 0;
    }
    return aio::run(connect(words[0], words[1], words.size() > 2 ? std::stoi(words[2]) : 1)) ? 0 : 1;
  } catch (std::exception const& error) {
    std::cerr << "peer: " << error.what() << std::endl;
    return 2;
  }
}
