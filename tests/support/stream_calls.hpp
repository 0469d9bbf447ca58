// SPDX-License-Identifier: MIT
#pragma once

// Tasks that read a stream to its end, by each of its calls, and who sends to it: for cancel_everywhere.hpp.

#include <array>
#include <chrono>
#include <cstddef>
#include <functional>
#include <string>
#include <string_view>

#include "aio/sleep.hpp"
#include "aio/stream.hpp"
#include "aio/task.hpp"
#include "aio/timeout.hpp"
#include "support/order.hpp"

namespace aio_test {

enum class reads {
  all,
  at_most,
  exactly,
  exactly_into,
  some,
  line,
  until,
  line_view,
  view,
  exact_view,
  more,
  in_time,
};
inline constexpr std::array all_reads{reads::all, reads::at_most, reads::exactly, reads::exactly_into, reads::some,
                                      reads::line, reads::line_view, reads::until, reads::view, reads::exact_view,
                                      reads::more, reads::in_time};

/// Adds what is read to `got`, until there is no more.
inline aio::task<> read_by(reads how, aio::stream_reader& from, std::string& got) {
  std::array<char, 5> into{};
  std::string_view const bytes(into.data(), into.size());
  while (!from.at_eof()) {
    std::string part;
    try {
      if (how == reads::all) part = co_await from.read();
      if (how == reads::at_most) part = co_await from.read(4);
      if (how == reads::exactly) part = co_await from.readexactly(5);
      if (how == reads::exactly_into) {
        co_await from.readexactly(into);
        part = bytes;
      }
      if (how == reads::some) {
        std::size_t const count = co_await from.read_some(into);
        part = bytes.substr(0, count);
      }
      if (how == reads::line) part = co_await from.readline();
      if (how == reads::until) part = co_await from.readuntil("\n");
      if (how == reads::line_view) {
        auto const line = co_await from.next_line();
        if (line) part = std::string(*line) + '\n';
      }
      if (how == reads::view) part = co_await from.readuntil_view("\n");
      if (how == reads::exact_view) part = co_await from.readexactly_view(5);
      if (how == reads::more) {
        (void)co_await from.fill();  // after a cancellation there may be something, and no more
        part = from.buffer();
        from.consume(part.size());
      }
      if (how == reads::in_time) part = co_await aio::wait_for(from.readline(), std::chrono::hours(1));
    } catch (aio::incomplete_read_error const& end) {
      part = end.partial();
    }
    got += part;
  }
}

inline std::string lines_of(int count) {
  std::string text;
  for (int i = 0; i < count; ++i) text += "line " + std::to_string(i) + '\n';
  return text;
}

/// Sends some bytes at a time, and waits now and then; `meanwhile` is called before it does.
inline aio::task<> feed(aio::stream_writer& to, std::string_view text, std::function<void()> meanwhile = {}) {
  for (std::size_t i = 0, count = 1; i < text.size(); i += count, count = count % 4 + 1) {
    co_await to.send(text.substr(i, count));
    co_await hops(i % 3 == 0 ? 2 : 1);
    if (count == 4 && meanwhile) meanwhile();
    if (count == 4) co_await aio::sleep_for(std::chrono::milliseconds(1));
  }
  to.write_eof();
}

/// Reads slowly.
inline aio::task<> read_to_end(aio::stream_reader& from, std::size_t at_once, std::string& got) {
  while (true) {
    std::string const part = co_await from.read(at_once);
    if (part.empty()) co_return;
    got += part;
    co_await hops(2);
  }
}

}  // namespace aio_test
