// SPDX-License-Identifier: MIT

#include "aio/testing/memory_stream.hpp"

#include <chrono>
#include <stdexcept>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include "aio/as_result.hpp"
#include "aio/event_loop.hpp"
#include "aio/gather.hpp"
#include "aio/sleep.hpp"
#include "aio/stream.hpp"
#include "aio/task_handle.hpp"
#include "aio/testing/all_blocked.hpp"
#include "aio/testing/cancel_everywhere.hpp"
#include "aio/testing/virtual_clock.hpp"
#include "support/catch.hpp"
#include "support/reports.hpp"
#include "support/trace.hpp"

using namespace std::chrono_literals;
using aio::testing::memory_path;
using aio::testing::memory_peer;
using aio::testing::memory_streams;
using aio_test::ContainsSubstring;
using aio_test::said;
using aio_test::trace;

namespace {

auto elapsed() { return aio::get_running_loop().time().time_since_epoch(); }

/// The pieces in which all of it comes, to the end or an error.
aio::task<std::string> pieces(aio::stream_reader& from) {
  std::string all;
  std::string end;
  for (;;) {
    auto const got = co_await aio::as_result(from.read(100));
    if (!got.has_value()) end = said(got);
    if (!got.has_value() || got.value().empty()) break;
    all += (all.empty() ? "" : "|") + got.value();
  }
  co_return end.empty() ? all : all + " " + end;
}

aio::task<> sends_all(aio::stream_writer& to, std::string text) { co_await to.send(text); }

}  // namespace

TEST_CASE("memory_path: fragments, of one length or of several in turn") {
  aio::testing::run([]() -> aio::task<> {
    auto one = memory_streams(memory_path().fragments(3));
    one.first.writer.write("abcdefgh");
    one.first.writer.write_eof();
    std::string const threes = co_await pieces(one.second.reader);
    CHECK(threes == "abc|def|gh");

    auto several = memory_streams(memory_path().fragments({1, 4, 2}));
    several.first.writer.write("abcdefgh");
    several.first.writer.write_eof();
    std::string const turns = co_await pieces(several.second.reader);
    CHECK(turns == "a|bcde|fg|h");

    several.second.writer.write("back");  // the other way is another
    several.second.writer.write_eof();
    std::string const whole = co_await pieces(several.first.reader);
    CHECK(whole == "back");
    CHECK_THROWS_AS(memory_path().fragments(0), std::invalid_argument);
  });
}

TEST_CASE("memory_path: between two fragments who reads waits, and others run") {
  aio::testing::run([]() -> aio::task<> {
    memory_peer peer(memory_path().fragments(2));
    auto ends = peer.open();
    peer.feed("one\ntwo\n");
    trace log;
    auto const other = aio::create_task([](trace& to) -> aio::task<> {
      for (int i = 0; i < 100; ++i) co_await aio::sleep_for(0s);
      to("other");
    },
                                        std::ref(log));
    auto const begun = aio::get_running_loop().iteration();
    std::string const line = co_await ends.reader.readline();
    CHECK(line == "one\n");
    CHECK(aio::get_running_loop().iteration() > begun);
    std::string const next = co_await ends.reader.readline();
    CHECK(next == "two\n");
    CHECK(log.text().empty());
    co_await other;
  });
}

TEST_CASE("memory_path: all arrives after the latency, in order, and the end behind it") {
  aio::testing::run([]() -> aio::task<> {
    auto [mine, theirs] = memory_streams(memory_path().latency(200ms), memory_path().latency(1s));
    mine.writer.write("ping\n");
    co_await aio::sleep_for(100ms);
    mine.writer.write("pong\n");
    co_await mine.writer.drain();
    std::string const ping = co_await theirs.reader.readline();
    CHECK(ping == "ping\n");
    CHECK(elapsed() == 200ms);
    theirs.writer.write("answer\n");
    std::string const pong = co_await theirs.reader.readline();
    CHECK(pong == "pong\n");
    CHECK(elapsed() == 300ms);
    mine.writer.write_eof();
    std::string const end = co_await theirs.reader.readline();
    CHECK(end.empty());
    CHECK(elapsed() == 500ms);
    std::string const answer = co_await mine.reader.readline();
    CHECK(answer == "answer\n");
    CHECK(elapsed() == 1200ms);
  });
}

TEST_CASE("memory_path: latency of a peer that a test plays, on both ways") {
  aio::testing::run([]() -> aio::task<> {
    memory_peer peer(memory_path().latency(1s), memory_path().latency(2s));
    auto ends = peer.open();
    peer.feed("one\n");
    peer.feed_eof();
    std::string const got = co_await pieces(ends.reader);
    CHECK(got == "one\n");
    CHECK(elapsed() == 1s);
    ends.writer.write("two\n");
    co_await ends.writer.drain();
    ends.writer.close();
    co_await aio::testing::all_blocked();
    CHECK(peer.take_sent().empty());
    CHECK_FALSE(peer.ended());
    co_await aio::testing::advance(2s);
    CHECK(peer.take_sent() == "two\n");
    CHECK(peer.ended());
    CHECK_FALSE(peer.was_reset());
  });
}

TEST_CASE("memory_path: behind so many bytes the connection is reset for both ends") {
  aio::testing::run([]() -> aio::task<> {
    auto [mine, theirs] = memory_streams(memory_path().reset_after(10));
    theirs.writer.write("before");
    co_await theirs.writer.drain();
    mine.writer.write("01234567");
    co_await mine.writer.drain();
    auto const drained = co_await aio::as_result(sends_all(mine.writer, "89abcdef"));
    CHECK_THAT(said(drained), ContainsSubstring("reset"));
    std::string const got = co_await pieces(theirs.reader);
    CHECK_THAT(got, ContainsSubstring("0123456789 "));
    CHECK_THAT(got, ContainsSubstring("reset"));
    std::string const back = co_await pieces(mine.reader);
    CHECK_THAT(back, ContainsSubstring("before "));
    CHECK_THAT(back, ContainsSubstring("reset"));
    auto const answered = co_await aio::as_result(sends_all(theirs.writer, "more"));
    CHECK_FALSE(answered.has_value());
  });
}

TEST_CASE("memory_path: reset before the first byte, and of what a test feeds") {
  aio::testing::run([]() -> aio::task<> {
    auto [mine, theirs] = memory_streams(memory_path().reset_after(0));
    auto const sent = co_await aio::as_result(sends_all(mine.writer, "x"));
    CHECK_THAT(said(sent), ContainsSubstring("reset"));
    std::string const got = co_await pieces(theirs.reader);
    CHECK_THAT(got, ContainsSubstring("reset"));

    memory_peer peer(memory_path().reset_after(3).latency(1s));
    auto ends = peer.open();
    peer.feed("abcdef");
    std::string const fed = co_await pieces(ends.reader);
    CHECK_THAT(fed, ContainsSubstring("abc "));
    CHECK_THAT(fed, ContainsSubstring("reset"));
    CHECK(elapsed() == 1s);
    CHECK(peer.was_reset());
  });
}

TEST_CASE("memory_path: all of it together loses nothing and changes no order") {
  std::string text;
  for (int i = 0; i < 500; ++i) text += std::to_string(i) + "\n";
  aio::testing::run([&]() -> aio::task<> {
    auto const path = memory_path().fragments({1, 7, 3, 100}).latency(3ms).capacity(64);
    auto [mine, theirs] = memory_streams(path, path);
    auto const sends = [](std::string const& all, aio::stream_writer to) -> aio::task<> {
      for (std::size_t at = 0; at < all.size(); at += 11) {
        to.write(all.substr(at, 11));
        co_await to.drain();
      }
      to.close();
      co_await to.wait_closed();
    };
    auto const receives = [](aio::stream_reader from) -> aio::task<std::string> { co_return co_await from.read(); };
    auto const sender = aio::create_task(sends(text, std::move(mine.writer)));
    std::string const got = co_await receives(std::move(theirs.reader));
    co_await sender;
    CHECK(got == text);
    CHECK(elapsed() > 3ms);
  });
}

TEST_CASE("memory_path: a reader that is cancelled anywhere loses nothing") {
  auto const moments = aio::testing::cancel_everywhere([](aio::testing::cancellation& when) -> aio::task<> {
    memory_peer peer(memory_path().fragments(2).latency(1s));
    auto ends = peer.open();
    peer.feed("one\ntwo\nthree\n");
    peer.feed_eof();
    std::string got;
    auto const reads = [](aio::stream_reader& from, std::string& to) -> aio::task<> {
      while (auto const line = co_await from.next_line()) to += std::string(*line) + ",";
    };
    co_await when.meet(reads(ends.reader, got));
    co_await reads(ends.reader, got);
    CHECK(got == "one,two,three,");
  });
  CHECK(moments > 10);
}

TEST_CASE("memory_path: what is on its way when the loop ends is dropped") {
  memory_peer peer(memory_path().latency(1h));
  aio::testing::run([&]() -> aio::task<> {
    auto ends = peer.open();
    peer.feed("late");
    co_await aio::sleep_for(1s);
  });
  CHECK_THROWS_AS(peer.feed("no loop"), aio::usage_error);
}
