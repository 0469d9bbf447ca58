// SPDX-License-Identifier: MIT

#include "aio/sendfile.hpp"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <fcntl.h>
#include <filesystem>
#include <fstream>
#include <memory>
#include <new>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <unistd.h>
#include <utility>

#include "aio/as_result.hpp"
#include "aio/event_loop.hpp"
#include "aio/file.hpp"
#include "aio/run.hpp"
#include "aio/sleep.hpp"
#include "aio/stream.hpp"
#include "aio/task_handle.hpp"
#include "aio/testing/memory_stream.hpp"
#include "aio/testing/virtual_clock.hpp"
#include "aio/transport.hpp"
#include "support/catch.hpp"
#include "support/order.hpp"
#include "support/reports.hpp"
#include "support/sockets.hpp"
#include "support/temporary.hpp"

using namespace std::chrono_literals;
using aio::file;
using aio_test::said;
using file_error = aio::filesystem_error;
using aio_test::temporary_folder;

namespace {

std::string some_bytes(std::size_t count) {
  std::string all;
  for (int i = 0; all.size() < count; ++i) all += std::to_string(i) + ",";
  all.resize(count);
  return all;
}
std::filesystem::path put(temporary_folder const& here, std::string const& text) {
  std::ofstream(here / "f", std::ios::binary) << text;
  return here / "f";
}

/// Runs `body(here, there)` with two ends of a connection: of sockets, of which the system sends files itself, and in
/// memory, where they are read.
template <class Body>
void over_both(Body body) {
  for (bool const sockets : {true, false}) {
    CAPTURE(sockets);
    aio::run([](Body& run, bool kind) -> aio::task<> {
      if (kind) {
        auto ends = aio_test::connected_streams();
        co_await run(ends.mine, ends.theirs);
      } else {
        auto [mine, theirs] = aio::testing::memory_streams();
        co_await run(mine, theirs);
      }
    }(body, sockets));
  }
}

template <class Error, class T>
aio::error_code code_of(aio::result<T> const& outcome) {
  auto const* const error = outcome.template error<Error>();
  return error ? error->code() : aio::error_code();
}

/// Takes all that it is sent, or what `room` says. Files have no end for it.
class sink final : public aio::transport {
 public:
  explicit sink(std::size_t most = ~std::size_t{0}) : room(most) {}

  aio::transferred receive(std::span<char>) noexcept override { return blocked(); }
  void wait_receive(aio::transport_waiter waiter) override { receiver_ = std::move(waiter); }
  aio::transferred send(std::span<asio::const_buffer const> parts) noexcept override {
    sent += asio::buffer_size(parts);
    return {asio::buffer_size(parts), {}};
  }
  aio::transferred send_file(int, std::uint64_t, std::size_t most) noexcept override {
    ++calls;
    std::size_t const now = std::min(most, room);
    if (now == 0) return blocked();
    room -= now;
    sent += now;
    return {now, {}};
  }
  void wait_send(aio::transport_waiter waiter) override {
    if (no_memory) throw std::bad_alloc();
    sender = std::move(waiter);
  }
  aio::error_code shut_down() noexcept override { return {}; }
  void close(bool) noexcept override {}

  std::size_t room;
  std::size_t sent = 0;
  int calls = 0;
  bool no_memory = false;
  aio::transport_waiter sender;

 private:
  static aio::transferred blocked() noexcept {
    return {0, aio::make_error_code(std::errc::operation_would_block)};
  }
  aio::transport_waiter receiver_;
};

}  // namespace

TEST_CASE("sendfile: a whole file goes out between what is written before and after") {
  temporary_folder const here;
  for (std::size_t const size : {std::size_t{0}, std::size_t{1}, std::size_t{3'000'000}}) {
    CAPTURE(size);
    std::string const text = some_bytes(size);
    auto const path = put(here, text);
    over_both([&](aio::stream_pair& mine, aio::stream_pair& theirs) -> aio::task<> {
      auto sends = aio::create_task([](auto& to, auto from, std::size_t all) -> aio::task<> {
        auto opened = co_await file::open(from);
        to.write("before,");
        std::uint64_t const sent = co_await aio::sendfile(to, opened);
        CHECK(sent == all);
        CHECK(opened.tell() == all);
        to.write("between,");
        std::uint64_t const again = co_await aio::sendfile(to, from);
        CHECK(again == all);
        to.write("after");
        to.close();
        co_await to.wait_closed();
      }(mine.writer, path, size));
      std::string const got = co_await theirs.reader.read();
      CHECK((got == "before," + text + "between," + text + "after"));
      co_await sends;
    });
  }
}

TEST_CASE("sendfile: a part, wherever the file stands, and fewer bytes where it ends") {
  temporary_folder const here;
  std::string const text = some_bytes(1'000'000);
  auto const path = put(here, text);
  over_both([&](aio::stream_pair& mine, aio::stream_pair& theirs) -> aio::task<> {
    auto sends = aio::create_task([](auto& to, auto from) -> aio::task<> {
      auto opened = co_await file::open(from);
      opened.seek(17);
      auto const some = co_await aio::sendfile(to, opened, 300'000, 400'000);
      CHECK(some == 400'000);
      CHECK(opened.tell() == 700'000);
      auto const short_of = co_await aio::sendfile(to, opened, 999'990, 100);
      CHECK(short_of == 10);
      CHECK(opened.tell() == 1'000'000);
      auto const behind = co_await aio::sendfile(to, opened, 2'000'000);
      CHECK(behind == 0);
      auto const none = co_await aio::sendfile(to, opened, 5, 0);
      CHECK(none == 0);
      CHECK(opened.tell() == 5);
      auto const next = co_await opened.read(3);
      co_await to.send(next);
      to.close();
    }(mine.writer, path));
    std::string const got = co_await theirs.reader.read();
    CHECK((got == text.substr(300'000, 400'000) + text.substr(999'990) + text.substr(5, 3)));
    co_await sends;
  });
}

TEST_CASE("sendfile: nothing else is written meanwhile") {
  temporary_folder const here;
  auto const path = put(here, some_bytes(3'000'000));
  over_both([&](aio::stream_pair& mine, aio::stream_pair& theirs) -> aio::task<> {
    auto sends = aio::create_task([](auto& to, auto from) -> aio::task<> {
      auto const sent = co_await aio::sendfile(to, from);
      CHECK(sent == 3'000'000);
      to.write("!");
      to.close();
    }(mine.writer, path));
    (void)co_await theirs.reader.readexactly(1);
    CHECK_THROWS_WITH(mine.writer.write("x"), "write(): a file is being sent, see sendfile()");
    CHECK_THROWS_AS(mine.writer.write_eof(), aio::usage_error);
    auto const why = co_await aio::as_result(aio::sendfile(mine.writer, path));
    CHECK(said(why) == "aio::usage_error: sendfile(): a file is being sent, see sendfile()");
    std::string const rest = co_await theirs.reader.read();
    CHECK(rest.size() == 3'000'000);
    CHECK(rest.back() == '!');
    co_await sends;
  });
}

TEST_CASE("sendfile: a stream that is closed takes none, and one that is closed meanwhile no more") {
  temporary_folder const here;
  auto const path = put(here, some_bytes(3'000'000));
  over_both([&](aio::stream_pair& mine, aio::stream_pair& theirs) -> aio::task<> {
    auto opened = co_await file::open(path);
    auto sends = aio::create_task(aio::sendfile(mine.writer, opened));
    (void)co_await theirs.reader.readexactly(1);
    mine.writer.close();
    std::string const rest = co_await theirs.reader.read();
    auto const meanwhile = co_await aio::as_result(std::move(sends));
    CHECK(said(meanwhile) == "aio::usage_error: sendfile(): the stream was closed meanwhile");
    CHECK(opened.tell() == rest.size() + 1);
    auto const before = co_await aio::as_result(aio::sendfile(mine.writer, opened));
    CHECK(said(before) == "aio::usage_error: sendfile(): the stream was closed");
  });
}

TEST_CASE("sendfile: a peer that goes in the middle is an error, and how much was sent is known") {
  temporary_folder const here;
  auto const path = put(here, some_bytes(3'000'000));
  over_both([&](aio::stream_pair& mine, aio::stream_pair& theirs) -> aio::task<> {
    auto opened = co_await file::open(path);
    auto sends = aio::create_task(aio::sendfile(mine.writer, opened));
    (void)co_await theirs.reader.readexactly(100'000);
    theirs.writer.abort();
    auto const why = code_of<aio::system_error>(co_await aio::as_result(std::move(sends)));
    CHECK((why == std::errc::broken_pipe || why == std::errc::connection_reset));
    CHECK(opened.tell() >= 100'000);
    CHECK(opened.tell() < 3'000'000);
    mine.writer.abort();
  });
}

TEST_CASE("sendfile: a peer that has closed when it has all is no error") {
  temporary_folder const here;
  auto const path = put(here, some_bytes(500'000));
  over_both([&](aio::stream_pair& mine, aio::stream_pair& theirs) -> aio::task<> {
    auto sends = aio::create_task(aio::sendfile(mine.writer, path));
    (void)co_await theirs.reader.readexactly(500'000);
    theirs.writer.close();
    auto const sent = co_await sends;
    CHECK(sent == 500'000);
    auto const end = co_await mine.reader.read();
    CHECK(end.empty());
  });
}

TEST_CASE("sendfile: cancelled, the position tells where to go on") {
  temporary_folder const here;
  std::string const text = some_bytes(2'000'000);
  auto const path = put(here, text);
  over_both([&](aio::stream_pair& mine, aio::stream_pair& theirs) -> aio::task<> {
    auto opened = co_await file::open(path);
    for (int hops = 0; hops < 8; ++hops) {
      auto sends = aio::create_task(aio::sendfile(mine.writer, opened, opened.tell()));
      co_await aio_test::hops(hops);
      if (hops % 2 != 0) (void)co_await theirs.reader.fill();
      sends.cancel();
      auto const end = co_await aio::as_result(std::move(sends));
      CHECK(!end.has_value());
    }
    auto rest = aio::create_task([](auto& to, auto& from) -> aio::task<> {
      (void)co_await aio::sendfile(to, from, from.tell());
      to.close();
    }(mine.writer, opened));
    std::string const got = co_await theirs.reader.read();
    CHECK((got == text));
    co_await rest;
  });
}

TEST_CASE("sendfile: errors of the file are told with its path") {
  temporary_folder const here;
  put(here, "text");
  over_both([&](aio::stream_pair& mine, aio::stream_pair&) -> aio::task<> {
    auto const missing = code_of<file_error>(co_await aio::as_result(aio::sendfile(mine.writer, here / "none")));
    CHECK(missing == std::errc::no_such_file_or_directory);
    auto only_written = co_await file::open(here / "f", aio::file_mode::write);
    auto const unreadable = code_of<file_error>(co_await aio::as_result(aio::sendfile(mine.writer, only_written)));
    CHECK(unreadable == std::errc::bad_file_descriptor);
    auto opened = co_await file::open(here / "f");
    std::uint64_t const behind = ~std::uint64_t{0} - 5;
    auto const far = code_of<file_error>(co_await aio::as_result(aio::sendfile(mine.writer, opened, behind)));
    CHECK(far == std::errc::value_too_large);
    co_await opened.close();
    auto const why = co_await aio::as_result(aio::sendfile(mine.writer, opened));
    CHECK(said(why) == "aio::usage_error: file::sendfile: the file is closed");
    mine.writer.write("the stream is as it was");
    mine.writer.close();
  });
}

#if defined(__linux__)
TEST_CASE("sendfile: what the system does not send itself is read, and so is what is not in memory") {
  temporary_folder const here;
  std::string const text = some_bytes(900'000);
  auto const path = put(here, text);
  over_both([&](aio::stream_pair& mine, aio::stream_pair& theirs) -> aio::task<> {
    int const cold = ::open(path.c_str(), O_RDWR);
    (void)::fsync(cold);
    (void)::posix_fadvise(cold, 0, 0, POSIX_FADV_DONTNEED);
    ::close(cold);
    auto sends = aio::create_task([](auto& to, auto from) -> aio::task<> {
      auto const maps = co_await aio::sendfile(to, "/proc/self/cmdline");
      CHECK(maps > 0);
      to.write("|");
      auto const some = co_await aio::sendfile(to, from);
      CHECK(some == 900'000);
      auto const zeros = co_await aio::sendfile(to, "/dev/zero", 0, 600'000);
      CHECK(zeros == 600'000);
      to.close();
    }(mine.writer, path));
    std::string const got = co_await theirs.reader.read();
    CHECK((got.substr(got.find('|') + 1) == text + std::string(600'000, '\0')));
    co_await sends;
  });
}
#endif

TEST_CASE("sendfile: of much that is sent at once others have their turns") {
  temporary_folder const here;
  std::filesystem::resize_file(put(here, ""), 5'000'000);
  aio::run([&]() -> aio::task<> {
    auto below = std::make_unique<sink>();
    auto& seen = *below;
    auto [reader, writer] = aio::make_stream(std::move(below));
    auto opened = co_await file::open(here / "f");
    auto counts = aio::create_task([]() -> aio::task<int> {
      int turns = 0;
      try {
        for (;; ++turns) co_await aio::sleep_for(0s);
      } catch (aio::cancelled_error const&) {
      }
      co_return turns;
    }());
    co_await aio_test::hops(1);
    auto const sent = co_await aio::sendfile(writer, opened, 0, 5'000'000);
    CHECK(sent == 5'000'000);
    CHECK(seen.sent == 5'000'000);
    CHECK(seen.calls == 20);
    counts.cancel();
    int const turns = co_await counts;
    CHECK(turns >= 4);
    CHECK(turns <= 8);
  }());
}

TEST_CASE("sendfile: without memory to wait, it fails, and the stream is as it was") {
  temporary_folder const here;
  put(here, some_bytes(100'000));
  aio::run([&]() -> aio::task<> {
    auto below = std::make_unique<sink>(std::size_t{30'000});
    auto& seen = *below;
    auto [reader, writer] = aio::make_stream(std::move(below));
    auto opened = co_await file::open(here / "f");
    seen.no_memory = true;
    auto const refused = co_await aio::as_result(aio::sendfile(writer, opened, 0, 100'000));
    CHECK(refused.error<std::bad_alloc>());
    CHECK(opened.tell() == 30'000);
    seen.no_memory = false;
    seen.room = 5'000;
    auto sends = aio::create_task(aio::sendfile(writer, opened, opened.tell(), 70'000));
    co_await aio::sleep_for(1ms);
    CHECK(!sends.done());
    seen.room = 1'000'000;
    seen.sender();
    co_await sends;
    CHECK(seen.sent == 100'000);
  }());
}

TEST_CASE("sendfile: a loop that ends lets it go") {
  temporary_folder const here;
  put(here, some_bytes(3'000'000));
  aio::run([&]() -> aio::task<> {
    auto ends = aio_test::connected_streams();
    auto sends = aio::create_task([](aio::stream_pair from, auto path) -> aio::task<> {
      (void)co_await aio::sendfile(from.writer, path);
    }(std::move(ends.mine), here / "f"));
    (void)co_await ends.theirs.reader.readexactly(1);
    CHECK(!sends.done());
  }());
}
