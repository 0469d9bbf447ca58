// SPDX-License-Identifier: MIT
#pragma once

// A stream that is read by calls in any order, from a peer that sends in pieces, with calls that are cancelled on the
// way; against the text that was sent.

#include <algorithm>
#include <array>
#include <chrono>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>

#include "aio/sleep.hpp"
#include "aio/stream.hpp"
#include "aio/stream_error.hpp"
#include "aio/task.hpp"
#include "aio/testing/memory_stream.hpp"
#include "aio/testing/virtual_clock.hpp"
#include "aio/timeout.hpp"
#include "input.hpp"

namespace aio_fuzz {

/// What is left of the text, and what a call makes of it.
class stream_model {
 public:
  stream_model(std::string text, std::size_t limit) : text_(std::move(text)), limit_(limit) {}

  [[nodiscard]] std::string_view left() const noexcept { return std::string_view(text_).substr(at_); }
  [[nodiscard]] std::size_t limit() const noexcept { return limit_; }
  void consume(std::size_t count) noexcept { at_ += count; }

  enum class outcome { found,
                       overrun,
                       incomplete };
  /// Of a call that looks for `separator`; and how many bytes it gives.
  [[nodiscard]] std::pair<outcome, std::size_t> until(std::string_view separator) const noexcept {
    std::size_t const found = left().find(separator);
    if (found != std::string_view::npos) {
      if (found > limit_) return {outcome::overrun, 0};
      return {outcome::found, found + separator.size()};
    }
    if (left().size() + 1 > limit_ + separator.size()) return {outcome::overrun, 0};
    return {outcome::incomplete, left().size()};
  }

 private:
  std::string text_;
  std::size_t limit_;
  std::size_t at_ = 0;
};

/// One call, and whether it did what it should. May be cancelled, and made again.
inline aio::task<> read_once(aio::stream_reader& from, stream_model& model, std::size_t call, std::size_t count) {
  using enum stream_model::outcome;
  std::string_view const left = model.left();
  std::string_view const separator = call == 1 || call == 6 ? "\r\n" : "\n";
  auto const [expected, length] = model.until(separator);
  bool const ends = count > left.size();
  try {
    switch (call) {
      case 0: {
        std::string const got = co_await from.readline();
        require(expected != overrun, "readline() gives a line that is too long");
        require(got == left.substr(0, length), "readline() gives something else");
        model.consume(length);
        break;
      }
      case 1: {
        std::string const got = co_await from.readuntil(separator);
        require(expected == found && got == left.substr(0, length), "readuntil() gives something else");
        model.consume(length);
        break;
      }
      case 2: {
        std::string const got = co_await from.readexactly(count);
        require(!ends && got == left.substr(0, count), "readexactly() gives something else");
        model.consume(count);
        break;
      }
      case 3: {
        std::string const got = co_await from.read(count);
        require(got.size() <= count && got == left.substr(0, got.size()), "read() gives something else");
        require(!got.empty() || left.empty() || count == 0, "read() gives nothing before the end");
        model.consume(got.size());
        break;
      }
      case 4: {
        std::array<char, 5> into{};
        std::size_t const got = co_await from.read_some(into);
        require(got <= into.size() && std::string_view(into.data(), got) == left.substr(0, got),
                "read_some() gives something else");
        require(got > 0 || left.empty(), "read_some() gives nothing before the end");
        model.consume(got);
        break;
      }
      case 5: {
        auto const got = co_await from.next_line();
        require(expected != overrun, "next_line() gives a line that is too long");
        require(got.has_value() == !left.empty(), "next_line() ends too early or too late");
        if (!got) break;
        std::string_view line = left.substr(0, length);
        if (line.ends_with('\n')) {
          line.remove_suffix(1);
          if (line.ends_with('\r')) line.remove_suffix(1);
        }
        require(*got == line, "next_line() gives something else");
        model.consume(length);
        break;
      }
      case 6: {
        std::string_view const got = co_await from.readuntil_view(separator);
        require(expected == found && got == left.substr(0, length), "readuntil_view() gives something else");
        model.consume(length);
        break;
      }
      case 7: {
        count = std::min(count, model.limit());
        std::string_view const got = co_await from.readexactly_view(count);
        require(count <= left.size() && got == left.substr(0, count), "readexactly_view() gives something else");
        model.consume(count);
        break;
      }
      case 8: {
        std::size_t const before = from.buffer().size();
        bool const more = co_await from.fill();
        require(more == (from.buffer().size() > before), "fill() says wrongly whether there is more");
        require(more || from.buffer() == left, "fill() ends before all is there");
        break;
      }
      default: {
        std::size_t const drop = std::min(count, from.buffer().size());
        from.consume(drop);
        model.consume(drop);
      }
    }
  } catch (aio::limit_overrun_error const& error) {
    bool const searches = call == 0 || call == 1 || call == 5 || call == 6;
    require(call == 8 || (searches && expected == overrun), "an overrun of nothing");
    require(error.consumed() <= from.buffer().size(), "an overrun of more than there is");
  } catch (aio::incomplete_read_error const& error) {
    bool const found_none = (call == 1 || call == 6) && expected == incomplete;
    bool const too_few = (call == 2 || call == 7) && count > left.size();
    require((found_none || too_few) && error.partial() == left, "an end where there is none");
    model.consume(left.size());
  }
  require(model.left().starts_with(from.buffer()), "something else is in the buffer");
}

inline aio::task<> read_stream(input& in) {
  std::string text;
  for (std::size_t left = in.below(96); left > 0; --left) text += "ab\r\n"[in.below(4)];
  std::size_t const limit = 1 + in.below(24);
  aio::testing::memory_peer peer(aio::testing::memory_path().fragments(1 + in.below(9)));
  auto [reader, writer] = peer.open(aio::stream_options().limit(limit));
  stream_model model(text, limit);

  // The peer sends a piece each second, and ends.
  aio::event_loop& loop = aio::get_running_loop();
  std::chrono::seconds when(0);
  for (std::string_view unsent = text; !unsent.empty(); ++when) {
    std::string_view const piece = unsent.substr(0, 1 + in.below(12));
    loop.call_later(when, [&peer, piece] { peer.feed(piece); });
    unsent.remove_prefix(piece.size());
  }
  loop.call_later(when, [&peer] { peer.feed_eof(); });

  while (!in.empty()) {
    std::size_t const call = in.below(10);
    std::size_t const count = in.below(16);
    if (in.below(3) == 0) {  // it is cancelled after a while, and again
      for (std::size_t tries = 1 + in.below(3); tries > 0; --tries) {
        try {
          co_await aio::wait_for(read_once(reader, model, call, count), std::chrono::milliseconds(500 * in.below(5)));
        } catch (aio::timeout_error const&) {
        }
        require(model.left().starts_with(reader.buffer()), "a call that was cancelled lost something");
      }
    } else {
      co_await read_once(reader, model, call, count);
    }
  }
  std::string const rest = co_await reader.read();
  require(rest == model.left() && reader.at_eof(), "read() gives something else than what is left");
  writer.close();
  co_await aio::sleep_for(when);  // what is to be fed finds its peer
}

inline void streams(std::span<std::uint8_t const> bytes) {
  input in(bytes);
  aio::testing::run(read_stream(in));
}

}  // namespace aio_fuzz
