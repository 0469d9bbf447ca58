// SPDX-License-Identifier: MIT

#include "aio/pipe.hpp"

#if defined(__unix__) || defined(__APPLE__)

#include <algorithm>
#include <array>
#include <chrono>
#include <csignal>
#include <cstddef>
#include <cstdlib>
#include <filesystem>
#include <optional>
#include <set>
#include <stdexcept>
#include <string>
#include <system_error>
#include <utility>

#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "aio/as_result.hpp"
#include "aio/run.hpp"
#include "aio/sleep.hpp"
#include "aio/task_handle.hpp"
#include "aio/timeout.hpp"
#include "aio/wait_readable.hpp"
#include "support/catch.hpp"
#include "support/descriptors.hpp"
#include "support/order.hpp"
#include "support/reports.hpp"
#include "support/temporary.hpp"

using namespace std::chrono_literals;
using aio::detail::make_pipe;
using aio::detail::owned_descriptor;
using aio::detail::pipe_access;
using aio::detail::pipe_direction;
using aio_test::open_descriptors;
using aio_test::replaced;
using aio_test::said;
using aio_test::words;

namespace {

template <class Body>
void run(Body const& body) {
  aio::run([&]() -> aio::task<> { co_await aio::wait_for(body(), 60s); });
}

bool blocks(int number) { return (::fcntl(number, F_GETFL) & O_NONBLOCK) == 0; }

/// What has arrived there.
std::string take(int from) {
  std::array<char, 256> block{};
  auto const got = ::read(from, block.data(), block.size());
  return std::string(block.data(), got > 0 ? static_cast<std::size_t>(got) : 0);
}
void put(int to, std::string const& text) {
  if (::write(to, text.data(), text.size()) != static_cast<::ssize_t>(text.size())) throw std::runtime_error("write");
}

struct terminal {
  terminal() : master(::posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC)) {
    bool const made = master && ::grantpt(master.get()) == 0 && ::unlockpt(master.get()) == 0;
    if (!made) throw std::runtime_error("no terminal");
    slave = owned_descriptor(::open(::ptsname(master.get()), O_RDWR | O_NOCTTY | O_CLOEXEC));
  }
  owned_descriptor master;
  owned_descriptor slave;
};

/// Both ends of a pipe as streams, used in a certain way.
aio::stream_reader reader_of(owned_descriptor file, pipe_access access) {
  return aio::detail::stream_access::reader(
      *aio::detail::make_pipe_stream({std::move(file), access}, pipe_direction::in, {}, "test"));
}
aio::stream_writer writer_of(owned_descriptor file, pipe_access access) {
  return aio::detail::stream_access::writer(
      *aio::detail::make_pipe_stream({std::move(file), access}, pipe_direction::out, {}, "test"));
}

/// Writes into a pipe until nothing fits any more: how much that was.
std::size_t fill(int to) {
  int const flags = ::fcntl(to, F_GETFL);
  (void)::fcntl(to, F_SETFL, flags | O_NONBLOCK);
  std::size_t count = 0;
  for (::ssize_t took = 0; (took = ::write(to, "....", 4)) > 0 || (took = ::write(to, ".", 1)) > 0;) {
    count += static_cast<std::size_t>(took);
  }
  (void)::fcntl(to, F_SETFL, flags);
  return count;
}
/// A writer on a pipe into which nothing fits, used in a certain way.
struct full_pipe {
  explicit full_pipe(pipe_access access) : read_end(std::move(ends.read)), filled(fill(ends.write.get())) {
    if (access == pipe_access::unshared) (void)::fcntl(ends.write.get(), F_SETFL, O_NONBLOCK);
    writer.emplace(writer_of(std::move(ends.write), access));
  }
  /// All that arrives.
  aio::task<std::string> arrives() {
    auto reader = aio::connect_read_pipe(read_end.release());
    co_return co_await reader.read();
  }

  decltype(make_pipe()) ends = make_pipe();
  owned_descriptor read_end;
  std::size_t filled;
  std::optional<aio::stream_writer> writer;
};

std::string const much(std::size_t{1} << 20, 'm');

}  // namespace

TEST_CASE("pipe: what one end is written can be read from the other, to its end", "[native]") {
  auto const before = open_descriptors();
  run([]() -> aio::task<> {
    auto ends = make_pipe();
    auto reader = aio::connect_read_pipe(ends.read.release());
    auto writer = aio::connect_write_pipe(ends.write.release());
    auto const reading = aio::create_task(reader.read());
    co_await writer.send("small");
    co_await writer.send(much);
    CHECK(writer.can_write_eof());
    writer.write("the last");
    writer.write_eof();
    auto const all = co_await reading;
    CHECK(all == "small" + much + "the last");
    CHECK(reader.at_eof());
    CHECK_THROWS_AS(writer.write("x"), aio::usage_error);
    writer.close();
    co_await writer.wait_closed();
  });
  CHECK(open_descriptors() == before);
}

TEST_CASE("pipe: one that is full is read in one piece, and small pieces later", "[native]") {
  run([]() -> aio::task<> {
    auto ends = make_pipe();
    ::fcntl(ends.write.get(), F_SETFL, O_NONBLOCK);
    std::size_t full = 0;
    std::array<char, 4096> const page{};
    for (::ssize_t more = 0; (more = ::write(ends.write.get(), page.data(), page.size())) > 0;) {
      full += static_cast<std::size_t>(more);
    }
    auto reader = aio::connect_read_pipe(ends.read.release());
    (void)co_await reader.fill();
    CHECK(reader.buffer().size() == std::min(full, std::size_t{65537}));
    while (reader.buffer().size() < full) (void)co_await reader.fill();
    reader.consume(full);
    for (std::string const line : {"one\n", "two\n", "three\n"}) {
      put(ends.write.get(), line);
      std::string const got = co_await reader.readline();
      CHECK(got == line);
    }
    ends.write.reset();
    std::string const rest = co_await reader.read();
    CHECK(rest.empty());
  });
}

TEST_CASE("pipe: in each way of using a descriptor all bytes arrive, in order", "[native]") {
  auto const before = open_descriptors();
  run([]() -> aio::task<> {
    std::string text;
    for (int i = 0; text.size() < 300000; ++i) text += std::to_string(i);
    for (auto const access : {pipe_access::unshared, pipe_access::shared}) {
      auto ends = make_pipe();
      if (access == pipe_access::unshared) {
        (void)::fcntl(ends.read.get(), F_SETFL, O_NONBLOCK);
        (void)::fcntl(ends.write.get(), F_SETFL, O_NONBLOCK);
      }
      int const read_end = ends.read.get();
      auto reader = reader_of(std::move(ends.read), access);
      auto writer = writer_of(std::move(ends.write), access);
      auto const reading = aio::create_task(reader.read());
      co_await aio::sleep_for(1ms);
      co_await writer.send(text);
      CHECK(blocks(read_end) == (access == pipe_access::shared));
      writer.close();
      auto const all = co_await reading;
      CHECK(all == text);
    }
    int pair[2];
    CHECK(::socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0);
    int const kept = ::dup(pair[0]);
    auto reader = aio::connect_read_pipe(pair[0]);
    auto writer = aio::connect_write_pipe(pair[1]);
    auto const reading = aio::create_task(reader.read());
    co_await writer.send(text);
    CHECK(blocks(kept));
    writer.close();
    auto const all = co_await reading;
    CHECK(all == text);
    ::close(kept);
  });
  CHECK(open_descriptors() == before);
}

TEST_CASE("pipe: a reader that has gone is an error of who writes, which ends neither the program nor its signals", "[native]") {
  run([]() -> aio::task<> {
    for (auto const access : {pipe_access::unshared, pipe_access::shared}) {
      auto ends = make_pipe();
      auto writer = writer_of(std::move(ends.write), access);
      ends.read.reset();
      auto const outcome = co_await aio::as_result(writer.send("lost"));
      auto const* const error = outcome.error<aio::system_error>();
      CHECK((error && error->code() == std::errc::broken_pipe));
      CHECK_THROWS_AS(writer.write("x"), aio::system_error);
    }
    ::sigset_t pending;
    sigemptyset(&pending);
    ::sigpending(&pending);
    CHECK(sigismember(&pending, SIGPIPE) == 0);
    ::sigset_t mask;
    ::pthread_sigmask(SIG_BLOCK, nullptr, &mask);
    CHECK(sigismember(&mask, SIGPIPE) == 0);
  });
}

TEST_CASE("pipe: a signal of a broken pipe that the program has blocked and waits for stays where it is", "[native]") {
  run([]() -> aio::task<> {
    ::sigset_t broken;
    ::sigset_t before;
    sigemptyset(&broken);
    sigaddset(&broken, SIGPIPE);
    ::pthread_sigmask(SIG_BLOCK, &broken, &before);
    ::raise(SIGPIPE);
    auto ends = make_pipe();
    auto writer = aio::connect_write_pipe(ends.write.release());
    ends.read.reset();
    auto const outcome = co_await aio::as_result(writer.send("lost"));
    CHECK(outcome.error<aio::system_error>());
    int came = 0;
    ::sigwait(&broken, &came);
    CHECK(came == SIGPIPE);
    ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
  });
}

TEST_CASE("pipe: who waits for a reader that goes hears of it", "[native]") {
  run([]() -> aio::task<> {
    auto ends = make_pipe();
    auto writer = aio::connect_write_pipe(ends.write.release());
    auto const sending = aio::create_task(writer.send(much));
    co_await aio::sleep_for(5ms);
    CHECK_FALSE(sending.done());
    ends.read.reset();
    auto const outcome = co_await aio::as_result(sending);
    auto const* const error = outcome.error<aio::system_error>();
    CHECK((error && error->code() == std::errc::broken_pipe));
  });
}

TEST_CASE("pipe: what does not fit is queued, goes out in order, and closing waits for it", "[native]") {
  run([]() -> aio::task<> {
    for (auto const access : {pipe_access::unshared, pipe_access::shared}) {
      for (bool const by_end : {false, true}) {
        full_pipe pipe(access);
        auto& writer = *pipe.writer;
        writer.write("one ");
        writer.write("");
        co_await writer.drain();
        CHECK(writer.write_buffer_size() == 4);
        writer.write("two ");
        writer.write("three");
        co_await aio::sleep_for(1ms);
        CHECK(writer.write_buffer_size() == 13);
        if (by_end) writer.write_eof();
        if (!by_end) writer.close();
        CHECK(writer.is_closing() == !by_end);
        auto const closed = aio::create_task(writer.wait_closed());
        co_await aio::sleep_for(2ms);
        CHECK_FALSE(closed.done());
        std::string const got = co_await pipe.arrives();
        CHECK(got == std::string(pipe.filled, '.') + "one two three");
        writer.close();
        writer.close();
        co_await closed;
      }
    }
  });
}

TEST_CASE("pipe: abort() drops what is queued, an error while it is sent is that of wait_closed()", "[native]") {
  run([]() -> aio::task<> {
    for (auto const access : {pipe_access::unshared, pipe_access::shared}) {
      full_pipe aborted(access);
      aborted.writer->write("lost");
      co_await aborted.writer->drain();
      aborted.writer->abort();
      std::string const got = co_await aborted.arrives();
      CHECK(got == std::string(aborted.filled, '.'));
      co_await aborted.writer->wait_closed();

      full_pipe broken(access);
      broken.writer->write("lost");
      broken.writer->close();
      auto const closed = aio::create_task(broken.writer->wait_closed());
      co_await aio::sleep_for(1ms);
      broken.read_end.reset();
      auto const outcome = co_await aio::as_result(closed);
      auto const* const error = outcome.error<aio::system_error>();
      CHECK((error && error->code() == std::errc::broken_pipe));
    }
  });
}

TEST_CASE("pipe: of two who wait at one pipe each has what the other has not read", "[native]") {
  run([]() -> aio::task<> {
    auto ends = make_pipe();
    auto first = aio::connect_read_pipe(::dup(ends.read.get()));
    auto second = aio::connect_read_pipe(ends.read.release());
    auto const read = [](aio::stream_reader& from) -> aio::task<std::string> { co_return co_await from.read(3); };
    auto const one = aio::create_task(read(first));
    auto const other = aio::create_task(read(second));
    co_await aio::sleep_for(1ms);
    put(ends.write.get(), "abc");
    co_await aio::sleep_for(5ms);
    CHECK(one.done() != other.done());  // both were told, and one found nothing
    put(ends.write.get(), "def");
    std::set<std::string> got;
    got.insert(co_await one);
    got.insert(co_await other);
    CHECK((got == std::set<std::string>{"abc", "def"}));
  });
}

TEST_CASE("pipe: nothing is read while nobody reads, and a reader that goes closes its end", "[native]") {
  run([]() -> aio::task<> {
    auto ends = make_pipe();
    owned_descriptor kept(::dup(ends.read.get()));
    auto const waiting_bytes = [&] {
      int count = 0;
      ::ioctl(kept.get(), FIONREAD, &count);
      return count;
    };
    std::optional<aio::stream_reader> reader(aio::connect_read_pipe(ends.read.release()));
    auto writer = aio::connect_write_pipe(ends.write.release());
    co_await writer.send("abc");
    co_await aio::sleep_for(5ms);
    CHECK(waiting_bytes() == 3);  // D9
    std::string const got = co_await reader->read(3);
    CHECK(got == "abc");
    co_await writer.send("defg");
    co_await aio::sleep_for(5ms);
    CHECK(waiting_bytes() == 4);
    kept.reset();
    reader.reset();
    auto const outcome = co_await aio::as_result(writer.send("lost"));
    auto const* const error = outcome.error<aio::system_error>();
    CHECK((error && error->code() == std::errc::broken_pipe));
  });
}

TEST_CASE("pipe: a reader that goes while a task reads ends that", "[native]") {
  auto const before = open_descriptors();
  run([]() -> aio::task<> {
    auto ends = make_pipe();
    std::optional<aio::stream_reader> reader(aio::connect_read_pipe(ends.read.release()));
    auto const reading = aio::create_task([](aio::stream_reader& from) -> aio::task<std::string> {
      co_return co_await from.readline();
    }(*reader));
    co_await aio::sleep_for(1ms);
    reader.reset();
    std::string const got = co_await reading;
    CHECK(got.empty());
  });
  CHECK(open_descriptors() == before);
}

#if defined(__linux__)
TEST_CASE("pipe: an error of the system ends reading, behind what had come", "[native]") {
  run([]() -> aio::task<> {
    int pair[2];
    CHECK(::socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0);
    put(pair[0], "unread");
    put(pair[1], "last");
    auto reader = aio::connect_read_pipe(pair[0]);
    ::close(pair[1]);  // with something unread, which is a reset
    for (int i = 0; i < 2; ++i) {
      auto const outcome = co_await aio::as_result(reader.read());
      auto const* const error = outcome.error<aio::system_error>();
      CHECK((error && error->code() == std::errc::connection_reset));
    }
    CHECK(reader.buffer() == "last");
  });
}
#endif

TEST_CASE("pipe: files and directories are refused, and closed", "[native]") {
  run([]() -> aio::task<> {
    auto const before = open_descriptors();
    int const file = ::open("/etc/passwd", O_RDONLY | O_CLOEXEC);
    CHECK_THROWS_AS(aio::connect_read_pipe(file), std::invalid_argument);
    int const folder = ::open("/etc", O_RDONLY | O_CLOEXEC);
    CHECK_THROWS_AS(aio::connect_read_pipe(folder), std::invalid_argument);
    CHECK_THROWS_AS(aio::connect_read_pipe(999), aio::system_error);
    CHECK(open_descriptors() == before);
    co_return;
  });
  auto ends = make_pipe();
  int const number = ends.read.release();
  CHECK_THROWS_AS(aio::connect_read_pipe(number), aio::usage_error);
  CHECK(::fcntl(number, F_GETFD) < 0);
}

TEST_CASE("pipe: one that is read while its stream is closed ends", "[native]") {
  run([]() -> aio::task<> {
    auto ends = make_pipe();
    auto writer = aio::connect_write_pipe(ends.write.release());
    auto const sending = aio::create_task(writer.send(much));
    co_await aio::sleep_for(1ms);
    writer.abort();
    auto const outcome = co_await aio::as_result(sending);
    CHECK_FALSE(outcome.has_value());
    CHECK(take(ends.read.get()).size() == 256);
  });
}

TEST_CASE("pipe: a stream may outlive its loop", "[native]") {
  auto const before = open_descriptors();
  auto ends = make_pipe();
  {
    auto reader = aio::run([&]() -> aio::task<aio::stream_reader> {
      auto made = aio::connect_read_pipe(ends.read.release());
      auto const nothing = co_await aio::as_result(aio::wait_for(made.read(), 5ms));
      CHECK(nothing.error<aio::timeout_error>());
      co_return made;
    });
    CHECK(open_descriptors() != before);
  }
  ends.write.reset();
  CHECK(open_descriptors() == before);
}

TEST_CASE("pipe: the standard streams work over a terminal, which blocks for others as before", "[native]") {
  terminal const screen;
  replaced const in(0, screen.slave.get());
  replaced const out(1, screen.slave.get());
  run([&]() -> aio::task<> {
    auto const before = open_descriptors();
    {
      auto input = aio::open_stdin();
      auto output = aio::open_stdout();
      auto const line = aio::create_task(input.readline());
      co_await aio::sleep_for(1ms);
      put(screen.master.get(), "typed\n");
      auto const typed = co_await line;
      CHECK(typed == "typed\n");
      co_await output.send("printed\n");
      CHECK(blocks(0));
      CHECK(blocks(1));
      CHECK(blocks(screen.slave.get()));
    }
    CHECK(open_descriptors() == before);
    put(1, "by others\n");
  });
  std::string shown;
  while (shown.find("others") == std::string::npos) shown += take(screen.master.get());
  CHECK(shown == "typed\r\nprinted\r\nby others\r\n");
}

TEST_CASE("pipe: the standard streams work over pipes, which block for others as before", "[native]") {
  auto in_ends = make_pipe();
  auto out_ends = make_pipe();
  replaced const in(0, in_ends.read.get());
  replaced const out(2, out_ends.write.get());
  run([&]() -> aio::task<> {
    auto input = aio::open_stdin();
    auto errors = aio::open_stderr();
    put(in_ends.write.get(), "one\ntwo");
    auto const line = co_await input.next_line();
    CHECK(line == "one");
    in_ends.write.reset();
    auto const rest = co_await input.read();
    CHECK(rest == "two");
    co_await errors.send("told\n");
    CHECK(take(out_ends.read.get()) == "told\n");
    CHECK(blocks(0));
    CHECK(blocks(2));
  });
}

TEST_CASE("pipe: the standard streams work over files, from and to where these stand", "[native]") {
  aio_test::temporary_folder const folder;
  owned_descriptor const file(::open((folder / "file").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  put(file.get(), "first\n");
  {
    replaced const out(1, file.get());
    run([]() -> aio::task<> {
      auto output = aio::open_stdout();
      co_await output.send("second\n");
      output.close();
      co_await output.wait_closed();
    });
  }
  ::lseek(file.get(), 3, SEEK_SET);
  {
    replaced const in(0, file.get());
    run([]() -> aio::task<> {
      auto input = aio::open_stdin();
      auto const all = co_await input.read();
      CHECK(all == "st\nsecond\n");
    });
  }
}

TEST_CASE("pipe: the standard streams work over devices that are always ready", "[native]") {
  owned_descriptor const null(::open("/dev/null", O_RDWR | O_CLOEXEC));
  replaced const in(0, null.get());
  replaced const out(1, null.get());
  run([]() -> aio::task<> {
    auto input = aio::open_stdin();
    auto output = aio::open_stdout();
    auto const nothing = co_await input.read();
    CHECK(nothing.empty());
    co_await output.send(much);
  });
}

TEST_CASE("pipe: a terminal that is hung up is at its end", "[native]") {
  terminal screen;
  replaced const in(0, screen.slave.get());
  screen.slave.reset();
  run([&]() -> aio::task<> {
    auto input = aio::open_stdin();
    auto const reading = aio::create_task(input.read());
    co_await aio::sleep_for(1ms);
    screen.master.reset();
    auto const all = co_await reading;
    CHECK(all.empty());
  });
}

TEST_CASE("pipe: the end of a terminal that a program has for another one is used as it is", "[native]") {
  terminal screen;
  run([&]() -> aio::task<> {
    int const given = screen.master.get();
    {
      auto keys = aio::connect_write_pipe(aio::detail::duplicate(screen.master.get(), "keys").release());
      auto shown = aio::connect_read_pipe(screen.master.release());
      co_await keys.send("typed\n");
      co_await aio::wait_for(aio::wait_readable(screen.slave.get()), 60s);
      CHECK(take(screen.slave.get()) == "typed\n");
      auto const echo = co_await shown.readline();
      CHECK(echo == "typed\r\n");
      put(screen.slave.get(), "printed\n");
      auto const line = co_await shown.readline();
      CHECK(line == "printed\r\n");
      screen.slave.reset();
      auto const rest = co_await shown.read();
      CHECK(rest.empty());
    }
    CHECK(open_descriptors().count(given) == 0);
  });
}

#endif
