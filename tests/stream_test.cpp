// SPDX-License-Identifier: MIT

#include <aio/aio.hpp>
#include <aio/stream.hpp>
#include <aio/testing/memory_stream.hpp>
#include <aio/testing/virtual_clock.hpp>
#include <array>
#include <chrono>
#include <cstddef>
#include <memory>
#include <optional>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include "support/catch.hpp"
#include "support/order.hpp"
#include "support/reports.hpp"
#if defined(__unix__) || defined(__APPLE__)
#include "support/sockets.hpp"
#endif
#include "support/trace.hpp"

using namespace std::chrono_literals;
using aio::testing::memory_peer;
using aio::testing::memory_streams;
using aio_test::iteration_trace;
using aio_test::reports;
using aio_test::said;
using aio_test::trace;

namespace {

/// Runs `body(peer, reader, writer, ...)` on a virtual clock.
template <class Body>
void with_peer(Body body, aio::stream_options options = {}) {
  aio::testing::run([](Body& run, aio::stream_options const& how) -> aio::task<> {
    memory_peer peer;
    auto [reader, writer] = peer.open(how);
    co_await run(peer, reader, writer);
  }(body, options));
}

/// A function of the reader as a task of its own, for its outcome as text.
aio::task<std::string> outcome_of(aio::stream_reader& reader, std::string what) {
  std::string text;
  try {
    if (what == "read") text = co_await reader.read();
    if (what == "read 3") text = co_await reader.read(3);
    if (what == "readexactly 3") text = co_await reader.readexactly(3);
    if (what == "readexactly 9") text = co_await reader.readexactly(9);
    if (what == "readline") text = co_await reader.readline();
    if (what == "readuntil ;") text = co_await reader.readuntil(";");
    if (what == "into 9") {
      std::array<char, 9> into{};
      co_await reader.readexactly(into);
      text.assign(into.data(), into.size());
    }
    if (what == "some 3") {
      std::array<char, 3> into{};
      std::size_t const count = co_await reader.read_some(into);
      text.assign(into.data(), count);
    }
    if (what == "next_line") {
      auto const line = co_await reader.next_line();
      text = line ? std::string(*line) : "none";
    }
    if (what == "view ;") text = co_await reader.readuntil_view(";");
    if (what == "view 9") text = co_await reader.readexactly_view(9);
    if (what == "fill") text = (co_await reader.fill()) ? "more" : "no more";
    if (what == "skip ;") text = std::to_string(co_await reader.skip_until(";")) + " skipped";
    if (what == "wait_eof") {
      co_await reader.wait_eof();
      text = "ended";
    }
  } catch (aio::incomplete_read_error const& e) {
    text = "incomplete: " + e.partial() + (e.expected() ? " of " + std::to_string(*e.expected()) : "");
  } catch (aio::limit_overrun_error const& e) {
    text = "overrun: " + std::to_string(e.consumed());
  } catch (aio::system_error const& e) {
    text = e.code() == std::errc::connection_reset ? "reset" : e.what();
  } catch (aio::usage_error const& e) {
    text = e.what();
  }
  co_return text;
}

/// A transport that takes and gives what another one does, but `most` bytes at a time; and counts.
class narrow final : public aio::transport {
 public:
  struct counts {
    int sends = 0;
    int receives = 0;
    std::span<char> into = {};  // the last to be received into
  };
  narrow(std::unique_ptr<aio::transport> below, std::size_t most, counts& count)
      : below_(std::move(below)), most_(most), count_(count) {}

  aio::transferred receive(std::span<char> into) noexcept override {
    ++count_.receives;
    count_.into = into;
    return below_->receive(into.first(std::min(into.size(), most_)));
  }
  void wait_receive(aio::transport_waiter waiter) override { below_->wait_receive(std::move(waiter)); }
  aio::transferred send(std::span<asio::const_buffer const> parts) noexcept override {
    ++count_.sends;
    if (most_ > 1000) return below_->send(parts);
    asio::const_buffer const one(parts.front().data(), std::min(parts.front().size(), most_));
    return below_->send({&one, 1});
  }
  void wait_send(aio::transport_waiter waiter) override { below_->wait_send(std::move(waiter)); }
  aio::error_code shut_down() noexcept override { return below_->shut_down(); }
  void close(bool reset) noexcept override { below_->close(reset); }

 private:
  std::unique_ptr<aio::transport> below_;
  std::size_t most_;
  counts& count_;
};

}  // namespace

TEST_CASE("stream: a line, some bytes and the rest are read as they were fed") {
  with_peer([](memory_peer& peer, aio::stream_reader& reader, aio::stream_writer&) -> aio::task<> {
    peer.feed("");
    peer.feed("one\ntwo three");
    peer.feed_eof();
    std::string got = co_await reader.readline();
    CHECK(got == "one\n");
    got = co_await reader.read(3);
    CHECK(got == "two");
    CHECK(reader.buffer() == " three");
    CHECK(!reader.at_eof());
    got = co_await reader.read();
    CHECK(got == " three");
    got = co_await reader.read();
    CHECK(got.empty());
    got = co_await reader.readline();
    CHECK(got.empty());
    got = co_await reader.readexactly(0);
    CHECK(got.empty());
    CHECK(reader.at_eof());
  });
}

TEST_CASE("stream: a read that waits resumes an iteration after what it waits for was fed") {
  CHECK(aio_test::traced([](iteration_trace& log) -> aio::task<> {
          memory_peer peer;
          auto [reader, writer] = peer.open();
          auto const waits = aio::create_task([](aio::stream_reader& from, iteration_trace& to) -> aio::task<> {
            to("reads " + co_await from.readline());
          }(reader, log));
          co_await aio::sleep_for(0s);
          peer.feed("ab");
          co_await aio::sleep_for(0s);
          log.mark();
          peer.feed("c\nd");
          log("fed");
          co_await aio::sleep_for(0s);
          log("here");
          co_await waits;
        }) == "0:fed | 1:reads abc\n | 1:here");
}

TEST_CASE("stream: whoever waits gets what it asked for of the pieces that come, the rest stays") {
  with_peer([](memory_peer& peer, aio::stream_reader& reader, aio::stream_writer&) -> aio::task<> {
    auto const read_30 = [&reader]() -> aio::task<std::string> { co_return co_await reader.read(30); };
    auto const read_exactly_12 = [&reader]() -> aio::task<std::string> { co_return co_await reader.readexactly(12); };
    auto waits = aio::create_task(read_30);
    co_await aio::sleep_for(0s);
    peer.feed("");  // is nothing, and not the end
    co_await aio::sleep_for(0s);
    CHECK(!waits.done());
    peer.feed("line1\nline2\n");
    std::string got = co_await waits;
    CHECK(got == "line1\nline2\n");
    CHECK(reader.buffer().empty());

    peer.feed("a line ");
    waits = aio::create_task(outcome_of(reader, "readline"));
    co_await aio::sleep_for(0s);
    for (char const* const piece : {"in ", "pieces", "\n and more"}) peer.feed(piece);
    got = co_await waits;
    CHECK(got == "a line in pieces\n");
    CHECK(reader.buffer() == " and more");
    reader.consume(9);

    waits = aio::create_task(read_exactly_12);
    co_await aio::sleep_for(0s);
    for (int i = 0; i < 3; ++i) peer.feed("six by");
    got = co_await waits;
    CHECK(got == "six bysix by");
    got = co_await reader.read(30);
    CHECK(got == "six by");

    waits = aio::create_task(outcome_of(reader, "read"));
    co_await aio::sleep_for(0s);
    peer.feed("one\n");
    peer.feed("two");
    peer.feed_eof();
    got = co_await waits;
    CHECK(got == "one\ntwo");
  });
  with_peer([](memory_peer& peer, aio::stream_reader& reader, aio::stream_writer&) -> aio::task<> {
    auto waits = aio::create_task(outcome_of(reader, "read 3"));
    co_await aio::sleep_for(0s);
    peer.feed_eof();
    std::string const got = co_await waits;
    CHECK(got.empty());
  });
}

TEST_CASE("stream: lines that are there are read without suspending, the last one without its end") {
  CHECK(aio_test::traced([](iteration_trace& log) -> aio::task<> {
          memory_peer peer;
          auto [reader, writer] = peer.open();
          peer.feed("line1\n");
          peer.feed("line2\nsome data");
          peer.feed_eof();
          co_await reader.wait_eof();
          log.mark();
          for (int i = 0; i < 4; ++i) {
            std::string const line = co_await reader.readline();
            log("'" + line + "'");
          }
        }) == "0:'line1\n' | 0:'line2\n' | 0:'some data' | 0:''");
}

TEST_CASE("stream: at_eof() is true when the end has been seen, and all before it was read") {
  with_peer([](memory_peer& peer, aio::stream_reader& reader, aio::stream_writer&) -> aio::task<> {
    CHECK(!reader.at_eof());
    peer.feed("some data\n");
    CHECK(!reader.at_eof());
    std::string got = co_await reader.readline();
    CHECK(!reader.at_eof());  // nothing is left, and the end has not come
    peer.feed("some data\n");
    peer.feed_eof();
    co_await reader.wait_eof();
    CHECK(!reader.at_eof());
    got = co_await reader.readline();
    CHECK(got == "some data\n");
    CHECK(reader.at_eof());
  });
}

TEST_CASE("stream: read(n) gives what is there, at most n, whatever the limit is, read(0) takes nothing") {
  with_peer(
      [](memory_peer& peer, aio::stream_reader& reader, aio::stream_writer&) -> aio::task<> {
        peer.feed("0123456789");
        std::string got = co_await reader.read(0);
        CHECK(got.empty());
        bool const there = co_await reader.fill();
        CHECK(there);
        got = co_await reader.read(0);
        CHECK(got.empty());
        got = co_await reader.readexactly(0);
        CHECK(got.empty());
        CHECK(reader.buffer() == "0123456789");
        got = co_await reader.read(8);
        CHECK(got == "01234567");
        got = co_await reader.read(8);
        CHECK(got == "89");
        std::string const large(300'000, 'x');
        peer.feed(large);
        got = co_await reader.readexactly(large.size());
        CHECK(got == large);
        peer.feed("chunk");
        got = co_await reader.readexactly(5);
        CHECK(got == "chunk");
      },
      aio::stream_options().limit(3));
}

TEST_CASE("stream: read(n) receives into the string that it gives where much comes at once") {
  aio::testing::run([]() -> aio::task<> {
    memory_peer peer;
    narrow::counts count;
    auto [reader, writer] = aio::make_stream(std::make_unique<narrow>(peer.open_transport(), 1 << 20, count));
    std::string const much(40'000, 'x');
    auto const all = [&](std::size_t most) -> aio::task<std::string> {
      std::string got;
      while (got.size() < much.size()) got += co_await reader.read(most);
      co_return got;
    };
    for (int i = 0; i < 6; ++i) {  // it learns how much that is
      peer.feed(much);
      std::string const got = co_await all(65536);
      CHECK(got == much);
    }
    peer.feed(much);
    std::string got = co_await reader.read(65536);
    CHECK(got == much);
    CHECK(got.data() == count.into.data());
    peer.feed(much);
    got = co_await reader.read(30'000);
    CHECK(got.size() == 30'000);
    CHECK(got.data() == count.into.data());
    got = co_await reader.read(30'000);
    CHECK(got.size() == 10'000);

    peer.feed("little");
    std::string const little = co_await reader.read(65536);
    CHECK(little == "little");
    CHECK(little.capacity() < 100);
    for (int i = 0; i < 8; ++i) {
      peer.feed("less");
      got = co_await reader.read(65536);
      CHECK(got == "less");
    }
    CHECK(count.into.size() <= 8192);
    peer.feed(much + "line\nend");
    got = co_await reader.readexactly(40'000);
    CHECK(got == much);
    got = co_await reader.readline();
    CHECK(got == "line\n");
    peer.feed_eof();
    got = co_await reader.read(65536);
    CHECK(got == "end");
    got = co_await reader.read(65536);
    CHECK(got.empty());
  });
}

TEST_CASE("stream: a large read(n) that is cancelled when it was woken gives back what had come") {
  with_peer([](memory_peer& peer, aio::stream_reader& reader, aio::stream_writer&) -> aio::task<> {
    std::string const much(40'000, 'x');
    for (int i = 0; i < 6; ++i) {
      peer.feed(much);
      std::string got;
      while (got.size() < much.size()) got += co_await reader.read(65536);
    }
    auto reads = aio::create_task([](aio::stream_reader& from) -> aio::task<> {
      (void)co_await from.read(65536);
    }(reader));
    co_await aio::sleep_for(0s);
    peer.feed(much);
    reads.cancel();  // it is woken already
    auto const ended = co_await aio::as_result(reads);
    CHECK(ended.cancelled());
    peer.feed("more");
    std::string got = co_await reader.readexactly(much.size() + 4);
    CHECK(got == much + "more");
    peer.reset();
    got = co_await outcome_of(reader, "read 3");
    CHECK(got == "reset");
  });
}

TEST_CASE("stream: readexactly tells at the end what there was, and the next one nothing") {
  with_peer([](memory_peer& peer, aio::stream_reader& reader, aio::stream_writer&) -> aio::task<> {
    peer.feed("abcd");
    peer.feed_eof();
    std::string got = co_await outcome_of(reader, "readexactly 9");
    CHECK(got == "incomplete: abcd of 9");
    got = co_await outcome_of(reader, "into 9");
    CHECK(got == "incomplete:  of 9");
    aio::incomplete_read_error const copied("abc", 5);
    CHECK(copied.what() == std::string("3 bytes read on a total of 5 expected bytes"));
    CHECK(aio::incomplete_read_error("abc").what() ==
          std::string("3 bytes read on a total of undefined expected bytes"));
  });
}

TEST_CASE("stream: readexactly and read_some put bytes into the caller's memory") {
  with_peer([](memory_peer& peer, aio::stream_reader& reader, aio::stream_writer&) -> aio::task<> {
    peer.feed("head\n0123");
    std::string got = co_await reader.readline();
    auto waits = aio::create_task(outcome_of(reader, "into 9"));
    co_await aio::sleep_for(0s);
    peer.feed("4567");
    co_await aio::sleep_for(0s);
    peer.feed("89ab");
    got = co_await waits;
    CHECK(got == "012345678");
    got = co_await outcome_of(reader, "some 3");
    CHECK(got == "9ab");
    peer.feed_eof();
    got = co_await outcome_of(reader, "some 3");
    CHECK(got.empty());
  });
}

TEST_CASE("stream: readuntil finds separators of several bytes, split over pieces, overlapping themselves") {
  with_peer([](memory_peer& peer, aio::stream_reader& reader, aio::stream_writer&) -> aio::task<> {
    auto waits = aio::create_task([](aio::stream_reader& from) -> aio::task<std::string> {
      co_return co_await from.readuntil("aab");
    }(reader));
    for (char const each : std::string_view("xaaaab!")) {
      co_await aio::sleep_for(0s);
      peer.feed({&each, 1});
    }
    std::string got = co_await waits;
    CHECK(got == "xaaaab");
    peer.feed("one--two-;three");
    got = co_await reader.readuntil("--", ";");
    CHECK(got == "!one--");
    got = co_await reader.readuntil(";", "-;", "nothing of the kind");  // both end there: with the whole
    CHECK(got == "two-;");
    peer.feed_eof();
    got = co_await outcome_of(reader, "readuntil ;");
    CHECK(got == "incomplete: three");
    CHECK_THROWS_WITH(reader.readuntil(""), "readuntil(): the separator is empty");
    CHECK_THROWS_WITH(reader.readuntil("a", std::string()), "readuntil(): the separator is empty");
  });
}

/// readuntil() of a text that comes in pieces, for its outcome as text, and what is left.
template <class... Separators>
aio::task<std::string> until_in_pieces(std::string_view text, std::size_t piece, Separators... separators) {
  memory_peer peer;
  auto [reader, writer] = peer.open();
  auto const read = [](aio::stream_reader& from, Separators const&... each) -> aio::task<std::string> {
    std::string found;
    try {
      found = co_await from.readuntil(each...);
    } catch (aio::incomplete_read_error const& e) {
      CHECK(!e.expected());
      CHECK(from.buffer().empty());
      found = "incomplete: " + e.partial();
    }
    co_return found;
  };
  auto const waits = aio::create_task(read(reader, separators...));
  for (std::size_t at = 0; at < text.size(); at += piece) {
    if (piece < text.size()) co_await aio::sleep_for(0s);
    peer.feed(text.substr(at, piece));
  }
  peer.feed_eof();
  std::string got = co_await waits;
  got += "|" + co_await reader.read();
  co_return got;
}

/// What it should be: up to the separator that ends first.
std::string until_by_hand(std::string_view text, std::vector<std::string_view> const& separators) {
  for (std::size_t end = 1; end <= text.size(); ++end) {
    std::string_view const here = text.substr(0, end);
    for (std::string_view const each : separators) {
      if (here.ends_with(each)) return std::string(here) + "|" + std::string(text.substr(end));
    }
  }
  return "incomplete: " + std::string(text) + "|";
}

TEST_CASE("stream: readuntil finds the separator that ends first, whatever the pieces are that it comes in") {
  aio::testing::run([]() -> aio::task<> {
    auto const agree = [](std::string_view text, auto... separators) -> aio::task<> {
      std::string const expected = until_by_hand(text, {separators...});
      for (std::size_t const piece : {std::size_t{1}, std::size_t{2}, std::size_t{3}, text.size()}) {
        std::string const got = co_await until_in_pieces(text, piece, separators...);
        if (got != expected) CHECK(got + " in pieces of " + std::to_string(piece) == expected);
      }
    };
    for (unsigned bits = 0; bits < 256; ++bits) {
      std::string text;
      for (unsigned bit = 0; bit < 8; ++bit) text += (bits >> bit & 1U) != 0 ? 'b' : 'a';
      co_await agree(text, "aaa");
      co_await agree(text, "aab");
      co_await agree(text, "bb", "abaab");
      co_await agree(text, "ba", "aab", "bab");
    }
    co_await agree("line 1\nline 2\r", "\r", "\n");
    co_await agree("ABCDEFG", "DEF", "BCDE");
    co_await agree("dataZAaaa", "A", "long sep");
    co_await agree("QWEaaXYaaa", "aaa");
    co_await agree("some dataAA", "AAA");
    std::string got = co_await until_in_pieces("ABCDEFG", 7, "DEF", "BCDE");
    CHECK(got == "ABCDE|FG");
    got = co_await until_in_pieces("some dataAA", 3, "AAA");
    CHECK(got == "incomplete: some dataAA|");
  });
}

TEST_CASE("stream: more than the limit before a separator is an overrun, and nothing is consumed") {
  with_peer(
      [](memory_peer& peer, aio::stream_reader& reader, aio::stream_writer&) -> aio::task<> {
        peer.feed("0123456;");  // exactly the limit before it
        std::string got = co_await reader.readuntil(";");
        CHECK(got == "0123456;");
        peer.feed("01234567;rest");
        got = co_await outcome_of(reader, "readuntil ;");
        CHECK(got == "overrun: 8");
        CHECK(reader.buffer() == "01234567;rest");
        got = co_await reader.readexactly(9);
        peer.feed("7890123");
        try {
          (void)co_await reader.readuntil("end");
          FAIL("no overrun");
        } catch (aio::limit_overrun_error const& e) {
          CHECK(e.consumed() == 9);
        }
        CHECK(reader.buffer() == "rest7890123");
      },
      aio::stream_options().limit(7));
}

TEST_CASE("stream: an overrun says whether the separator was found, and how much cannot belong to it") {
  with_peer(
      [](memory_peer& peer, aio::stream_reader& reader, aio::stream_writer&) -> aio::task<> {
        auto const overrun = [&reader](auto... separators) -> aio::task<std::string> {
          std::string text;
          try {
            text = co_await reader.readuntil(separators...);
          } catch (aio::limit_overrun_error const& e) {
            std::string_view const what = e.what();
            text = what.find("not found") != what.npos ? "not found, " : "";
            text += what.find("is found") != what.npos ? "found, " : "";
            text += std::to_string(e.consumed());
          }
          co_return text;
        };
        peer.feed("some dataAA");
        std::string got = co_await overrun("AAA");
        CHECK(got == "not found, 9");
        CHECK(reader.buffer() == "some dataAA");
        peer.feed("A");
        got = co_await reader.readexactly(9);  // as many as it said: the separator may begin behind them
        CHECK(got == "some data");
        got = co_await overrun("AAA");
        CHECK(got == "AAA");

        peer.feed("some dataAAA");
        got = co_await overrun("AAA");
        CHECK(got == "found, 9");
        CHECK(reader.buffer() == "some dataAAA");
        reader.consume(12);
        peer.feed("some dataA");
        got = co_await overrun("A", "ome dataA");  // both end there: the shorter one counts
        CHECK(got == "found, 9");
        CHECK(reader.buffer() == "some dataA");
      },
      aio::stream_options().limit(3));
}

TEST_CASE("stream: a line of exactly the limit is read, a longer one is none, there already or to come") {
  for (char const* const how : {"readline", "next_line"}) {
    CAPTURE(how);
    with_peer(
        [how](memory_peer& peer, aio::stream_reader& reader, aio::stream_writer&) -> aio::task<> {
          std::string const end = how == std::string("readline") ? "\n" : "";
          peer.feed("1234567\n12345678\nrest");
          std::string got = co_await outcome_of(reader, how);
          CHECK(got == "1234567" + end);
          got = co_await outcome_of(reader, how);
          CHECK(got == "overrun: 8");
          CHECK(reader.buffer() == "12345678\nrest");
          std::size_t skipped = co_await reader.skip_until("\n");
          CHECK(skipped == 9);
          reader.consume(4);

          auto waits = aio::create_task(outcome_of(reader, how));
          co_await aio::sleep_for(0s);
          for (char const* const piece : {"chunk1", "chunk2\n", "chunk3\n"}) peer.feed(piece);
          peer.feed_eof();
          got = co_await waits;
          CHECK(got.starts_with("overrun: "));
          skipped = co_await reader.skip_until("\n");
          CHECK(skipped == 13);
          got = co_await outcome_of(reader, how);
          CHECK(got == "chunk3" + end);
        },
        aio::stream_options().limit(7));
  }
}

TEST_CASE("stream: a line over the limit stays, and skip_until drops it in bounded memory") {
  with_peer(
      [](memory_peer& peer, aio::stream_reader& reader, aio::stream_writer&) -> aio::task<> {
        peer.feed("0123456789");
        std::string got = co_await outcome_of(reader, "readline");
        CHECK(got == "overrun: 10");
        got = co_await outcome_of(reader, "next_line");
        CHECK(got == "overrun: 10");
        CHECK(reader.buffer() == "0123456789");
        auto skips = aio::create_task([](aio::stream_reader& from) -> aio::task<std::size_t> {
          co_return co_await from.skip_until("\n");
        }(reader));
        std::size_t fed = 10;
        for (int i = 0; i < 100; ++i) {
          peer.feed(std::string(1000, 'x'));
          fed += 1000;
          co_await aio::sleep_for(0s);
          co_await aio::sleep_for(0s);
        }
        peer.feed("!\nshort\n");
        std::size_t const skipped = co_await skips;
        CHECK(skipped == fed + 2);
        got = co_await reader.readline();
        CHECK(got == "short\n");
        peer.feed("no end");
        peer.feed_eof();
        got = co_await outcome_of(reader, "skip ;");
        CHECK(got.find("incomplete: ") == 0);
      },
      aio::stream_options().limit(7));
}

TEST_CASE("stream: next_line gives views without the end of the line, and none at the end") {
  with_peer([](memory_peer& peer, aio::stream_reader& reader, aio::stream_writer&) -> aio::task<> {
    peer.feed("one\r\n\ntwo\rtwo\nlast\r");  // that ends no line
    peer.feed_eof();
    std::vector<std::string> lines;
    while (auto const line = co_await reader.next_line()) lines.emplace_back(*line);
    CHECK(lines == std::vector<std::string>{"one", "", "two\rtwo", "last\r"});
    auto const none = co_await reader.next_line();
    CHECK(!none);
    CHECK(reader.at_eof());
  });
}

TEST_CASE("stream: what has arrived can be looked at, taken in part, and added to") {
  with_peer(
      [](memory_peer& peer, aio::stream_reader& reader, aio::stream_writer&) -> aio::task<> {
        CHECK(reader.buffer().empty());  // nobody has asked for anything yet
        peer.feed("abcdef");
        bool more = co_await reader.fill();
        CHECK(more);
        CHECK(reader.buffer() == "abcdef");
        reader.consume(2);
        CHECK(reader.buffer() == "cdef");
        CHECK_THROWS_WITH(reader.consume(5), "consume(): 5 bytes of 4");
        std::string_view view = co_await reader.readexactly_view(2);
        CHECK(view == "cd");
        CHECK(reader.buffer() == "ef");
        CHECK_THROWS_WITH(reader.readexactly_view(9), "readexactly_view(): 9 bytes are more than the limit, 8: use "
                                                      "readexactly()");
        peer.feed(";ghijkl");
        view = co_await reader.readuntil_view(";");
        CHECK(view == "ef;");
        CHECK(reader.buffer() == "ghijkl");
        peer.feed("0123");
        more = co_await reader.fill();
        CHECK(reader.buffer() == "ghijkl0123");
        std::string got = co_await outcome_of(reader, "fill");
        CHECK(got == "overrun: 10");
        peer.feed_eof();
        reader.consume(10);
        more = co_await reader.fill();
        CHECK(!more);
      },
      aio::stream_options().limit(8));
}

TEST_CASE("stream: wait_eof keeps what comes before the end, and more than the limit is an overrun") {
  with_peer(
      [](memory_peer& peer, aio::stream_reader& reader, aio::stream_writer&) -> aio::task<> {
        auto waits = aio::create_task(outcome_of(reader, "wait_eof"));
        co_await aio::sleep_for(0s);
        peer.feed("abc");
        co_await aio::sleep_for(0s);
        CHECK(!waits.done());
        peer.feed_eof();
        std::string got = co_await waits;
        CHECK(got == "ended");
        got = co_await reader.read();
        CHECK(got == "abc");

        memory_peer other;
        auto [more, writer] = other.open(aio::stream_options().limit(4));
        other.feed("12345");
        got = co_await outcome_of(more, "wait_eof");
        CHECK(got == "overrun: 5");
        CHECK(more.buffer() == "12345");
      },
      aio::stream_options().limit(4));
}

TEST_CASE("stream: what arrived before a reset is delivered first, then the error, each time") {
  with_peer([](memory_peer& peer, aio::stream_reader& reader, aio::stream_writer& writer) -> aio::task<> {
    peer.feed("line\nrest");
    peer.reset();
    std::string got = co_await outcome_of(reader, "readline");
    CHECK(got == "line\n");
    for (char const* const each : {"readline", "readuntil ;", "readexactly 9", "into 9", "read", "next_line", "view ;",
                                   "view 9"}) {
      got = co_await outcome_of(reader, each);
      CHECK(each + (": " + got) == each + std::string(": reset"));
    }
    CHECK(reader.error() == std::errc::connection_reset);
    CHECK(reader.buffer() == "rest");
    got = co_await outcome_of(reader, "read 3");
    CHECK(got == "res");
    got = co_await outcome_of(reader, "some 3");
    CHECK(got == "t");
    for (char const* const each : {"read 3", "some 3", "fill", "skip ;", "wait_eof", "read"}) {
      got = co_await outcome_of(reader, each);
      CHECK(each + (": " + got) == each + std::string(": reset"));
    }
    CHECK(!reader.at_eof());
    CHECK_THROWS_AS(writer.write("x"), aio::system_error);
    CHECK(writer.is_closing());
  });
}

TEST_CASE("stream: a reset wakes who reads, and does nothing where nobody does") {
  for (char const* const what : {"read", "read 3", "some 3", "readexactly 9", "into 9", "readline", "readuntil ;",
                                 "next_line", "view ;", "view 9", "fill", "skip ;", "wait_eof"}) {
    for (bool const cancels : {false, true}) {
      CAPTURE(what, cancels);
      with_peer([=](memory_peer& peer, aio::stream_reader& reader, aio::stream_writer&) -> aio::task<> {
        CHECK(!reader.error());
        auto const waits = aio::create_task(outcome_of(reader, what));
        co_await aio::sleep_for(0s);
        if (cancels) {
          waits.cancel();
          co_await aio::sleep_for(0s);
        }
        peer.reset();
        auto const ended = co_await aio::as_result(waits);
        CHECK((cancels ? ended.cancelled() : ended.has_value() && ended.value() == "reset"));
        co_await aio::sleep_for(0s);
        std::string const next = co_await outcome_of(reader, what);
        CHECK(next == "reset");
        CHECK(reader.error() == std::errc::connection_reset);
      });
    }
  }
}

TEST_CASE("stream: a second task that reads is refused, with the names of both functions") {
  with_peer([](memory_peer& peer, aio::stream_reader& reader, aio::stream_writer&) -> aio::task<> {
    auto first = aio::create_task(outcome_of(reader, "readline"));
    co_await aio::sleep_for(0s);
    std::string got = co_await outcome_of(reader, "read 3");
    CHECK(got == "read(): another task waits in readline() of this stream");
    peer.feed("abc\n");
    got = co_await outcome_of(reader, "readexactly 3");  // the line is the other's, which runs next
    CHECK(got == "readexactly(): another task waits in readline() of this stream");
    got = co_await first;
    CHECK(got == "abc\n");
  });
}

TEST_CASE("stream: whatever read is cancelled, nothing of what had arrived is lost") {
  for (char const* const what : {"read", "readexactly 9", "into 9", "readline", "readuntil ;", "next_line", "view ;",
                                 "view 9", "wait_eof"}) {
    CAPTURE(what);
    with_peer([what](memory_peer& peer, aio::stream_reader& reader, aio::stream_writer&) -> aio::task<> {
      peer.feed("ab");
      auto waits = aio::create_task(outcome_of(reader, what));
      co_await aio::sleep_for(0s);
      co_await aio::sleep_for(0s);
      peer.feed("cd");
      co_await aio::sleep_for(0s);
      CHECK(!waits.done());
      waits.cancel();
      peer.feed("ef");  // in the same iteration
      auto const ended = co_await aio::as_result(waits);
      CHECK(ended.cancelled());
      peer.feed("gh");
      peer.feed_eof();
      std::string const rest = co_await reader.read();
      CHECK(rest == "abcdefgh");
    });
  }
}

TEST_CASE("stream: a read that has ended before it is cancelled loses nothing either") {
  for (char const* const what : {"read 3", "readexactly 3", "some 3", "readline", "next_line", "fill"}) {
    CAPTURE(what);
    with_peer([what](memory_peer& peer, aio::stream_reader& reader, aio::stream_writer&) -> aio::task<> {
      std::string seen;
      auto waits = aio::create_task([](aio::stream_reader& from, std::string how, std::string& to) -> aio::task<> {
        std::string const got = co_await outcome_of(from, how);
        to += got == "more" ? "" : got;
        co_await aio::sleep_for(0s);
      }(reader, what, seen));
      co_await aio::sleep_for(0s);
      peer.feed("abc\n");
      waits.cancel();  // it is woken already
      auto const ended = co_await aio::as_result(waits);
      CHECK(ended.cancelled());
      peer.feed_eof();
      seen += co_await reader.read();
      CHECK(seen == "abc\n");
    });
  }
}

TEST_CASE("stream: skip_until() that is cancelled when it has found the separator leaves it to the next one") {
  for (bool const comes_first : {false, true}) {
    with_peer([=](memory_peer& peer, aio::stream_reader& reader, aio::stream_writer&) -> aio::task<> {
      auto waits = aio::create_task(outcome_of(reader, "skip ;"));
      co_await aio::sleep_for(0s);
      peer.feed("long");
      if (comes_first) peer.feed(";next;last");
      waits.cancel();
      if (!comes_first) peer.feed(";next;last");
      auto const ended = co_await aio::as_result(waits);
      CHECK(ended.cancelled());
      std::string got = co_await outcome_of(reader, "skip ;");
      CHECK(got == "1 skipped");
      got = co_await outcome_of(reader, "readuntil ;");
      CHECK(got == "next;");
    });
  }
}

TEST_CASE("stream: a cancelled readexactly() gives a few bytes back, and the stream goes on") {
  for (std::size_t const few : {1U, 2U, 3U, 4U, 5U, 5000U}) {
    CAPTURE(few);
    with_peer([few](memory_peer& peer, aio::stream_reader& reader, aio::stream_writer&) -> aio::task<> {
      std::vector<char> into(6000);
      auto waits = aio::create_task(reader.readexactly(into));
      co_await aio::sleep_for(0s);
      peer.feed(std::string(few, 'a'));
      waits.cancel();
      auto const ended = co_await aio::as_result(waits);
      CHECK(ended.cancelled());
      auto next = aio::create_task(reader.readline());
      co_await aio::sleep_for(0s);
      CHECK(!next.done());  // the peer has not ended
      peer.feed("b\n");
      std::string const line = co_await next;
      CHECK(line == std::string(few, 'a') + "b\n");
    });
  }
}

TEST_CASE("stream: byte by byte every read gives the same") {
  aio::testing::run([]() -> aio::task<> {
    memory_peer peer;
    narrow::counts count;
    auto [reader, writer] = aio::make_stream(std::make_unique<narrow>(peer.open_transport(), 1, count));
    peer.feed("line\nuntil;0123456789more");
    peer.feed_eof();
    std::string got;
    for (char const* const what : {"readline", "view ;", "into 9", "some 3", "readexactly 3", "read"}) {
      got += co_await outcome_of(reader, what) + "|";
    }
    CHECK(got == "line\n|until;|012345678|9|mor|e|");
    writer.write("sent one by one");
    writer.close();
    co_await writer.wait_closed();
    CHECK(peer.take_sent() == "sent one by one");
    CHECK(count.sends == 15);
  });
}

TEST_CASE("stream: what is written goes out in one piece, when it is drained or in the next iteration") {
  aio::testing::run([]() -> aio::task<> {
    memory_peer peer;
    narrow::counts count;
    auto [reader, writer] = aio::make_stream(std::make_unique<narrow>(peer.open_transport(), 100'000, count));
    for (int i = 0; i < 64; ++i) writer.write("line\n");
    CHECK(peer.take_sent().empty());
    CHECK(writer.write_buffer_size() == 320);
    co_await writer.drain();
    CHECK(peer.take_sent().size() == 320);
    CHECK(count.sends == 1);

    std::string owned(5000, 'o');
    writer.write("begin ");
    writer.write(std::move(owned));
    std::array<std::string_view, 3> const parts{" a", "", " b"};
    writer.writelines(parts);
    writer.write("");
    co_await aio::sleep_for(0s);
    co_await aio::sleep_for(0s);
    CHECK(peer.take_sent() == "begin " + std::string(5000, 'o') + " a b");
    CHECK(count.sends == 2);

    writer.write(std::string(70'000, 'x'));  // much
    CHECK(peer.take_sent().size() == 70'000);
    CHECK(writer.write_buffer_size() == 0);

    writer.write("queued, ");
    co_await writer.send("sent");
    CHECK(peer.take_sent() == "queued, sent");
    CHECK(count.sends == 4);
  });
}

TEST_CASE("stream: drain waits for the low mark, and wakes all that wait, a cancelled one leaves the others") {
  CHECK(aio_test::traced([](iteration_trace& log) -> aio::task<> {
          memory_peer peer;
          auto [reader, writer] = peer.open();
          peer.set_capacity(10);
          writer.set_write_buffer_limits(20, 5);
          writer.write(std::string(20, 'a'));
          co_await writer.drain();  // not more than the high mark
          log.mark();
          log("drained " + std::to_string(writer.write_buffer_size()));
          std::array<std::string_view, 2> const parts{"bbbbbbbb", "ccccccc"};
          writer.writelines(parts);
          std::vector<aio::task_handle<void>> waits;
          for (int i = 0; i < 3; ++i) {
            waits.push_back(aio::create_task([](aio::stream_writer& to, iteration_trace& into, int n) -> aio::task<> {
              co_await to.drain();
              into("drained by " + std::to_string(n));
            }(writer, log, i)));
          }
          co_await aio::sleep_for(0s);
          waits[1].cancel();
          (void)peer.take_sent();
          co_await aio::sleep_for(0s);
          log("left " + std::to_string(writer.write_buffer_size()));
          (void)peer.take_sent();
          log("left " + std::to_string(writer.write_buffer_size()));
          co_await waits[2];
          peer.set_capacity(1000);
        }) == "0:drained 10 | 2:left 15 | 2:left 5 | 3:drained by 0 | 3:drained by 2");
}

TEST_CASE("stream: send waits until all is gone, without a copy, and in turn") {
  aio::testing::run([]() -> aio::task<> {
    memory_peer peer;
    auto [reader, writer] = peer.open();
    peer.set_capacity(4);
    trace log;
    std::string memory = "abcdef";
    auto first = aio::create_task([](aio::stream_writer& to, std::string& from, trace& into) -> aio::task<> {
      co_await to.send(from);
      into("first");
    }(writer, memory, log));
    co_await aio::sleep_for(0s);
    auto second = aio::create_task([](aio::stream_writer& to, trace& into) -> aio::task<> {
      std::array<std::string_view, 3> const parts{"12", "", "34"};
      co_await to.send(parts);
      into("second");
    }(writer, log));
    co_await aio::sleep_for(0s);
    memory = "uvwxyz";  // it is the sender's until then
    std::string all;
    for (int i = 0; i < 3; ++i) {
      all += peer.take_sent() + "|";
      co_await aio::sleep_for(0s);
      co_await aio::sleep_for(0s);
    }
    CHECK(all == "abcd|yz12|34|");
    CHECK(log.text() == "first | second");
    co_await writer.send("");
    co_await writer.send(std::span<std::string_view const>());
  });
}

TEST_CASE("stream: a cancelled send copies what is left, which goes out all the same") {
  aio::testing::run([]() -> aio::task<> {
    memory_peer peer;
    auto [reader, writer] = peer.open();
    peer.set_capacity(2);
    std::string memory = "abcdef";
    std::string_view parts[] = {memory, "123"};
    auto sends = aio::create_task([](aio::stream_writer& to, std::span<std::string_view const> from) -> aio::task<> {
      co_await to.send(from);
    }(writer, parts));
    co_await aio::sleep_for(0s);
    writer.write("behind");
    sends.cancel();
    auto const ended = co_await aio::as_result(sends);
    CHECK(ended.cancelled());
    memory.assign("??????");
    peer.set_capacity(1000);
    CHECK(peer.take_sent() == "abcdef123behind");
  });
}

TEST_CASE("stream: after a failed send every write throws what ended the connection, and reading goes on") {
  aio::testing::run([]() -> aio::task<> {
    auto [mine, theirs] = memory_streams();
    theirs.writer.write("answer\n");
    co_await theirs.writer.drain();
    theirs.writer.abort();
    mine.writer.write("x");
    auto outcome = co_await aio::as_result(mine.writer.drain());
    CHECK(outcome.error<aio::system_error>());
    CHECK_THROWS_AS(mine.writer.write("y"), aio::system_error);
    std::array<std::string_view, 2> const parts{"y", "z"};
    CHECK_THROWS_AS(mine.writer.writelines(parts), aio::system_error);
    outcome = co_await aio::as_result(mine.writer.send("y"));
    CHECK(outcome.error<aio::system_error>());
    std::string const got = co_await mine.reader.readline();
    CHECK(got == "answer\n");
    mine.writer.close();
    for (int i = 0; i < 2; ++i) {
      outcome = co_await aio::as_result(mine.writer.wait_closed());
      CHECK(outcome.error<aio::system_error>());
    }
  });
}

TEST_CASE("stream: write_eof ends one direction, writing behind it is misuse") {
  aio::testing::run([]() -> aio::task<> {
    auto [mine, theirs] = memory_streams();
    mine.writer.write("question");
    CHECK(mine.writer.can_write_eof());
    mine.writer.write_eof();
    mine.writer.write_eof();
    CHECK(!mine.writer.is_closing());
    CHECK_THROWS_WITH(mine.writer.write("x"), "write(): nothing can be written behind write_eof()");
    std::string got = co_await theirs.reader.read();
    CHECK(got == "question");
    theirs.writer.write("answer");
    theirs.writer.close();
    got = co_await mine.reader.read();
    CHECK(got == "answer");
    mine.writer.close();
    co_await mine.writer.wait_closed();
    CHECK_THROWS_WITH(mine.writer.write("x"), "write(): the stream was closed");
  });
}

TEST_CASE("stream: close sends what is queued in the background, and whoever reads sees the end") {
  with_peer([](memory_peer& peer, aio::stream_reader& reader, aio::stream_writer& writer) -> aio::task<> {
    peer.set_capacity(4);
    auto reads = aio::create_task(outcome_of(reader, "read"));
    auto closed = aio::create_task([](aio::stream_writer& of) -> aio::task<> { co_await of.wait_closed(); }(writer));
    auto also = aio::create_task([](aio::stream_writer& of) -> aio::task<> { co_await of.wait_closed(); }(writer));
    co_await aio::sleep_for(0s);
    writer.write("0123456789");
    writer.close();
    writer.close();
    CHECK(writer.is_closing());
    std::string const got = co_await reads;
    CHECK(got.empty());
    CHECK(reader.at_eof());
    also.cancel();
    co_await aio::sleep_for(0s);
    CHECK(!closed.done());
    CHECK(peer.take_sent() == "0123");
    CHECK(peer.take_sent() == "4567");
    CHECK(peer.take_sent() == "89");
    CHECK(peer.ended());
    CHECK(!peer.was_reset());
    co_await closed;
    co_await writer.wait_closed();
  });
}

TEST_CASE("stream: a peer that takes nothing is reset when the linger is over") {
  with_peer(
      [](memory_peer& peer, aio::stream_reader&, aio::stream_writer& writer) -> aio::task<> {
        peer.set_capacity(4);
        writer.write("0123456789");
        writer.close();
        for (int i = 0; i < 2; ++i) {
          auto const outcome = co_await aio::as_result(writer.wait_closed());
          CHECK(said(outcome).find("aio::timeout_error: wait_closed") == 0);
          CHECK(aio_test::now() == 3);
        }
        CHECK(peer.was_reset());
      },
      aio::stream_options().linger(3s));
}

TEST_CASE("stream: abort drops what is queued, resets the peer and frees who waits") {
  with_peer([](memory_peer& peer, aio::stream_reader& reader, aio::stream_writer& writer) -> aio::task<> {
    peer.set_capacity(4);
    writer.set_write_buffer_limits(0);
    writer.write("0123456789");
    auto drains = aio::create_task([](aio::stream_writer& to) -> aio::task<> { co_await to.drain(); }(writer));
    auto sends = aio::create_task([](aio::stream_writer& to) -> aio::task<> { co_await to.send("abc"); }(writer));
    auto reads = aio::create_task(outcome_of(reader, "readline"));
    co_await aio::sleep_for(0s);
    writer.abort();
    std::string const got = co_await reads;
    CHECK(got.empty());
    auto outcome = co_await aio::as_result(drains);
    CHECK(outcome.error<aio::system_error>());
    outcome = co_await aio::as_result(sends);
    CHECK(outcome.error<aio::system_error>());
    co_await writer.wait_closed();
    CHECK(peer.was_reset());
    CHECK(peer.take_sent() == "0123");
  });
}

TEST_CASE("stream: ends that are assigned others let go of their own connection, which ends with the last of them") {
  aio::testing::run([]() -> aio::task<> {
    memory_peer first, second;
    auto [reader, writer] = first.open();
    auto [next_reader, next_writer] = second.open();
    reader = std::move(next_reader);
    CHECK(!first.ended());
    writer = std::move(next_writer);
    CHECK(first.ended());
    CHECK(!first.was_reset());
    second.feed("line\n");
    auto const line = co_await reader.readline();
    CHECK(line == "line\n");
    writer.write("answer");
    co_await writer.drain();
    CHECK(second.take_sent() == "answer");
    CHECK(!second.ended());
  });
}

TEST_CASE("stream: ends that go close it, with something unsent that is told, and the peer is reset") {
  aio::testing::run([]() -> aio::task<> {
    reports heard;
    {
      memory_peer peer;
      {
        auto [reader, writer] = peer.open();
        writer.write("sent");
        co_await writer.drain();
        { auto const reader_goes_first = std::move(reader); }
        CHECK(!peer.ended());
      }
      CHECK(peer.ended());
      CHECK(!peer.was_reset());
      CHECK(heard.text().empty());
    }
    {
      memory_peer peer;
      {
        auto [reader, writer] = peer.open();
        peer.set_capacity(2);
        writer.write("123456");
        co_await writer.drain();
      }
      CHECK(peer.was_reset());
      CHECK(heard.text() == "a stream went that was not closed: 4 bytes were not sent; call close(), and "
                            "wait_closed() to know that they are");
    }
    {
      memory_peer peer;
      {
        auto [reader, writer] = peer.open();
        peer.set_capacity(2);
        writer.write("123456");
        writer.close();
      }
      CHECK(!peer.ended());
      CHECK(peer.take_sent() == "12");
      CHECK(peer.take_sent() == "34");
      CHECK(peer.take_sent() == "56");
      CHECK(peer.ended());
      CHECK(!peer.was_reset());
    }
  });
}

TEST_CASE("stream: the loop ends when what was closed has been sent, or its linger is over") {
  aio::event_loop loop;
  memory_peer peer;
  auto const began = std::chrono::steady_clock::now();
  loop.run_until_complete([](memory_peer& to) -> aio::task<> {
    auto [reader, writer] = to.open(aio::stream_options().linger(20ms));
    to.set_capacity(2);
    writer.write("123456");
    writer.close();
    co_return;
  }(peer));
  CHECK(!peer.ended());
  loop.close();
  CHECK(peer.was_reset());
  CHECK(std::chrono::steady_clock::now() - began >= 20ms);
}

TEST_CASE("stream: one that is fed without end lets others run, and so does one that is never full") {
  aio::testing::run([]() -> aio::task<> {
    auto [mine, theirs] = memory_streams(1 << 20);
    int others = 0;
    auto counts = aio::create_task([](int& count) -> aio::task<> {
      while (true) {
        co_await aio::sleep_for(0s);
        ++count;
      }
    }(others));
    std::string const block(65536, 'x');
    auto reads = aio::create_task([](aio::stream_reader from) -> aio::task<> {
      while (true) {
        std::string const got = co_await from.read(65536);
        if (got.empty()) co_return;
      }
    }(std::move(theirs.reader)));
    for (int i = 0; i < 160; ++i) {
      mine.writer.write(block);
      co_await mine.writer.drain();
    }
    CHECK(others >= 9);  // between ten times a mebibyte
    mine.writer.close();
    co_await reads;
    counts.cancel();
  });
}

TEST_CASE("stream: limits that make no sense are refused") {
  with_peer([](memory_peer&, aio::stream_reader&, aio::stream_writer& writer) -> aio::task<> {
    CHECK_THROWS_WITH(aio::stream_options().limit(0), "the limit of a stream cannot be 0");
    CHECK_THROWS_WITH(writer.set_write_buffer_limits(3, 4),
                      "set_write_buffer_limits(): high, 3, is less than low, 4");
    CHECK_THROWS_WITH(aio::make_stream(nullptr), "make_stream(): there is no transport");
    co_return;
  });
  memory_peer peer;
  CHECK_THROWS_AS(peer.open(), aio::usage_error);  // no loop runs
}

TEST_CASE("stream: one that was moved away says so, and one whose loop is gone does no harm") {
  std::optional<aio::stream_pair> kept;
  memory_peer peer;
  aio::testing::run([](memory_peer& of, std::optional<aio::stream_pair>& into) -> aio::task<> {
    into.emplace(of.open());
    aio::stream_reader const taken = std::move(into->reader);
    CHECK_THROWS_WITH(into->reader.readline(), "readline(): the stream was moved away");
    co_return;
  }(peer, kept));
  CHECK_THROWS_AS(kept->writer.write("x"), aio::usage_error);
  kept->writer.close();
  kept->writer.abort();
  kept.reset();
}

#if defined(__unix__) || defined(__APPLE__)
TEST_CASE("stream: over sockets lines go both ways, and the end is seen") {
  aio::run([]() -> aio::task<> {
    auto [mine, theirs] = aio_test::connected_streams();
    auto echoes = aio::create_task([](aio::stream_pair with) -> aio::task<> {
      while (auto const line = co_await with.reader.next_line()) {
        with.writer.write("echo " + std::string(*line) + "\n");
        co_await with.writer.drain();
      }
      with.writer.close();
      co_await with.writer.wait_closed();
    }(std::move(theirs)));
    for (int i = 0; i < 100; ++i) {
      co_await mine.writer.send(std::to_string(i) + "\n");
      std::string const got = co_await mine.reader.readline();
      CHECK(got == "echo " + std::to_string(i) + "\n");
    }
    mine.writer.write_eof();
    std::string const rest = co_await mine.reader.read();
    CHECK(rest.empty());
    co_await echoes;
    CHECK(mine.writer.native_handle() != static_cast<aio::transport::native_handle_type>(-1));
    CHECK(mine.writer.peername().is_unix());
    mine.writer.close();
    co_await mine.writer.wait_closed();
  }());
}

TEST_CASE("stream: over sockets much goes through, whatever its pieces are, and a slow reader holds the writer") {
  aio::run([]() -> aio::task<> {
    auto [mine, theirs] = aio_test::connected_streams();
    std::string all;
    for (int i = 0; all.size() < 3'000'000; ++i) all += std::to_string(i) + ",";
    auto writes = aio::create_task([](aio::stream_writer to, std::string const& what) -> aio::task<> {
      std::string_view left = what;
      for (std::size_t size = 1; !left.empty(); size = size * 3 % 100'003) {
        std::string_view const now = left.substr(0, size);
        to.write(now);
        left.remove_prefix(now.size());
        co_await to.drain();
      }
      to.close();
      co_await to.wait_closed();
    }(std::move(theirs.writer), all));
    co_await aio::sleep_for(5ms);
    CHECK(!writes.done());
    std::string const got = co_await mine.reader.read();
    CHECK(got.size() == all.size());
    CHECK(got == all);
    co_await writes;
  }());
}

TEST_CASE("stream: what was written and closed arrives although run() ends at once") {
  for (bool const closes : {true, false}) {
    auto const ends = aio_test::descriptors();
    std::thread receives;
    std::size_t received = 0;
    aio::run([](int here, int there, bool close, std::thread& thread, std::size_t& count) -> aio::task<> {
      auto [reader, writer] = aio_test::stream_over(here);
      writer.write(std::string(2'000'000, 'x'));
      if (close) {
        writer.close();
      } else {
        aio::get_running_loop().set_exception_handler([](aio::exception_context const&) {});
      }
      thread = std::thread([there, &count] {
        std::vector<char> into(100'000);
        for (ssize_t got = 0; (got = ::read(there, into.data(), into.size())) > 0;) count += std::size_t(got);
        ::close(there);
      });
      co_return;
    }(ends[0], ends[1], closes, receives, received));
    receives.join();
    if (closes) {
      CHECK(received == 2'000'000);
    } else {
      CHECK(received < 2'000'000);
    }
  }
}

TEST_CASE("stream: sockets that outlive their loop are closed with it") {
  std::optional<aio_test::streams> kept;
  aio::run([](std::optional<aio_test::streams>& into) -> aio::task<> {
    into.emplace(aio_test::connected_streams());
    into->mine.writer.write("never sent");
    co_return;
  }(kept));
  CHECK_THROWS_AS(kept->mine.writer.write("x"), aio::usage_error);
  kept.reset();
}
#endif
