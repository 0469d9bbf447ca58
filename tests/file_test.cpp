// SPDX-License-Identifier: MIT

#include "aio/file.hpp"

#include <algorithm>
#include <atomic>
#include <csignal>
#include <cstdlib>
#include <fcntl.h>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <optional>
#include <string>
#include <sys/resource.h>
#include <sys/stat.h>
#include <system_error>
#include <unistd.h>
#include <utility>
#include <vector>

#include "aio/as_result.hpp"
#include "aio/event_loop.hpp"
#include "aio/gather.hpp"
#include "aio/run.hpp"
#include "aio/sleep.hpp"
#include "aio/task_handle.hpp"
#include "aio/testing/virtual_clock.hpp"
#include "aio/timeout.hpp"
#include "aio/to_thread.hpp"
#include "support/catch.hpp"
#include "support/order.hpp"
#include "support/reports.hpp"
#include "support/temporary.hpp"
#include "support/trace.hpp"

using namespace std::chrono_literals;
using namespace std::string_literals;
using aio::file;
using aio::file_mode;
using aio_test::ContainsSubstring;
using aio_test::hops;
using aio_test::said;
using aio_test::temporary_folder;
using aio_test::trace;
using strings = std::vector<std::string>;

namespace {

constexpr file_mode rewrite = file_mode::read | file_mode::write | file_mode::create | file_mode::truncate;

std::string contents(std::filesystem::path const& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
}
void put(std::filesystem::path const& path, std::string const& text) {
  std::ofstream(path, std::ios::binary) << text;
}

template <class T>
aio::error_code code_of(aio::result<T> const& outcome) {
  auto const* const error = outcome.template error<aio::filesystem_error>();
  return error ? error->code() : aio::error_code();
}

/// All of the lines that are left.
aio::task<strings> lines_of(file& in) {
  strings all;
  while (auto const line = co_await in.next_line()) all.emplace_back(*line);
  co_return all;
}

/// Keeps all of to_thread's threads busy until it opens.
class full_pool {
 public:
  aio::task<> fill() {
    for (int i = 0; i < 32; ++i) {
      jobs_.push_back(aio::create_task([this]() -> aio::task<> {
        auto wait = [this] { open_.wait(false); };
        co_await aio::to_thread(wait);
      }));
    }
    co_await hops(3);
  }
  aio::task<> release() {
    open_ = true;
    open_.notify_all();
    for (auto const& each : jobs_) co_await each;
  }

 private:
  std::atomic<bool> open_ = false;
  std::vector<aio::task_handle<void>> jobs_;
};

}  // namespace

TEST_CASE("file: what was written is read again") {
  temporary_folder const here;
  aio::testing::run([&]() -> aio::task<> {
    auto f = co_await file::open(here / "f", rewrite);
    CHECK(f.is_open());
    CHECK(f.path() == here / "f");
    co_await f.write("hello ");
    co_await f.write("world");
    CHECK(f.tell() == 11);
    auto const end = co_await f.read(10);
    CHECK(end.empty());
    f.seek(0);
    auto const five = co_await f.read(5);
    CHECK(five == "hello");
    auto const rest = co_await f.read();
    CHECK(rest == " world");
    auto const size = co_await f.size();
    CHECK(size == 11);
    co_await f.sync();
    co_await f.close();
    CHECK_FALSE(f.is_open());
  });
  CHECK(contents(here / "f") == "hello world");
}

TEST_CASE("file: read_text and write_text are whole files") {
  temporary_folder const here;
  aio::testing::run([&]() -> aio::task<> {
    co_await file::write_text(here / "f", "a longer text");
    co_await file::write_text(here / "f", "short\0one"s);
    auto const text = co_await file::read_text(here / "f");
    CHECK(text == "short\0one"s);
    co_await file::write_text(here / "f", "");
    auto const empty = co_await file::read_text(here / "f");
    CHECK(empty.empty());
    std::string big(5'000'001, 'x');
    big[4'999'999] = 'y';
    co_await file::write_text(here / "f", big);
    auto const all = co_await file::read_text(here / "f");
    CHECK((all == big));
  });
}

#if defined(__linux__)
TEST_CASE("file: one that does not say how long it is is read to its end") {
  aio::testing::run([]() -> aio::task<> {
    auto const text = co_await file::read_text("/proc/self/maps");
    CHECK(text.size() > 1000);
    auto zeros = co_await file::open("/dev/zero");
    auto const some = co_await zeros.read(3'000'000);
    CHECK(some.size() == 3'000'000);
  });
}
#endif

TEST_CASE("file: lines, with either end, without one at the last, and longer than what is read ahead") {
  temporary_folder const here;
  std::string const longest(300'000, 'l');
  put(here / "f", "one\r\n\ntwo\n" + longest + "\nlast");
  put(here / "empty", "");
  put(here / "ends", "a\n");
  aio::testing::run([&]() -> aio::task<> {
    auto f = co_await file::open(here / "f");
    auto const all = co_await lines_of(f);
    CHECK((all == strings{"one", "", "two", longest, "last"}));
    CHECK(f.tell() == 300'015);
    auto const none = co_await f.next_line();
    CHECK_FALSE(none.has_value());
    auto empty = co_await file::open(here / "empty");
    auto const of_empty = co_await lines_of(empty);
    CHECK(of_empty.empty());
    auto ends = co_await file::open(here / "ends");
    auto const of_ends = co_await lines_of(ends);
    CHECK(of_ends == strings{"a"});
    put(here / "ends", "a\nb\n");  // it has grown
    auto const later = co_await lines_of(ends);
    CHECK(later == strings{"b"});
  });
}

TEST_CASE("file: a line that was read ahead does not suspend, and other calls know of what was") {
  temporary_folder const here;
  put(here / "f", "one\ntwo\nthree\nfour\n");
  aio::testing::run([&]() -> aio::task<> {
    auto f = co_await file::open(here / "f", file_mode::read | file_mode::write);
    auto const one = co_await f.next_line();
    CHECK(one == "one");
    CHECK(f.tell() == 4);
    trace log;
    auto const other = aio::create_task([&]() -> aio::task<> {
      log("other");
      co_return;
    });
    auto const two = co_await f.next_line();
    log(std::string(*two));
    auto const th = co_await f.read(2);
    log(th);
    co_await other;
    CHECK(log.text() == "two | th | other");
    co_await f.write("REE");
    CHECK(f.tell() == 13);
    auto const rest = co_await f.read();
    CHECK(rest == "\nfour\n");
    f.seek(8);
    auto const three = co_await f.next_line();
    CHECK(three == "thREE");
    co_await f.write_at(14, "FOUR");
    auto const four = co_await f.next_line();
    CHECK(four == "FOUR");
    f.seek(0);
    auto const again = co_await f.read(1000);
    CHECK(again == "one\ntwo\nthREE\nFOUR\n");
  });
}

TEST_CASE("file: at an offset, which leaves the position alone") {
  temporary_folder const here;
  aio::testing::run([&]() -> aio::task<> {
    auto f = co_await file::open(here / "f", rewrite);
    co_await f.write("0123456789");
    f.seek(2);
    co_await f.write_at(5, "xyz");
    auto const part = co_await f.read_at(4, 5);
    CHECK(part == "4xyz8");
    auto const beyond = co_await f.read_at(100, 5);
    CHECK(beyond.empty());
    CHECK(f.tell() == 2);
    co_await f.truncate(4);
    auto const rest = co_await f.read();
    CHECK(rest == "23");
    co_await f.truncate(6);
    auto const zeros = co_await f.read();
    CHECK(zeros == "\0\0"s);
    auto const too_far = co_await aio::as_result(f.write_at(~std::uint64_t{0}, "x"));
    CHECK(code_of(too_far) == std::errc::file_too_large);
    auto const never = co_await aio::as_result(f.read_at(~std::uint64_t{0} - 1, 1));
    CHECK(code_of(never) == std::errc::value_too_large);
  });
}

TEST_CASE("file: modes") {
  temporary_folder const here;
  aio::testing::run([&]() -> aio::task<> {
    auto const missing = co_await aio::as_result(file::open(here / "f"));
    CHECK(code_of(missing) == std::errc::no_such_file_or_directory);
    auto made = co_await file::open(here / "f", file_mode::write | file_mode::create | file_mode::exclusive,
                                    std::filesystem::perms::owner_read | std::filesystem::perms::owner_write);
    co_await made.write("abc");
    CHECK(std::filesystem::status(here / "f").permissions() ==
          (std::filesystem::perms::owner_read | std::filesystem::perms::owner_write));
    CHECK((::fcntl(made.native_handle(), F_GETFD) & FD_CLOEXEC) != 0);
    auto const again = co_await aio::as_result(
        file::open(here / "f", file_mode::write | file_mode::create | file_mode::exclusive));
    CHECK(code_of(again) == std::errc::file_exists);
    auto appended = co_await file::open(here / "f", file_mode::append | file_mode::read);
    co_await appended.write("def");
    auto const all = co_await appended.read();
    CHECK(all == "abcdef");
    auto const not_readable = co_await aio::as_result(made.read(1));
    CHECK(code_of(not_readable) == std::errc::bad_file_descriptor);
    auto const not_writable = co_await aio::as_result((co_await file::open(here / "f")).write("x"));
    CHECK(code_of(not_writable) == std::errc::bad_file_descriptor);
    CHECK(said(co_await aio::as_result(file::open(here / "f", file_mode::create))) ==
          "aio::usage_error: file::open: nothing can be done with it: give file_mode::read, write or append");
  });
}

TEST_CASE("file: what cannot be positioned is none, and nobody waits for the other end of a pipe") {
  temporary_folder const here;
  REQUIRE(::mkfifo((here / "pipe").c_str(), 0600) == 0);
  aio::testing::run([&]() -> aio::task<> {
    auto const pipe = co_await aio::as_result(file::open(here / "pipe"));
    CHECK(code_of(pipe) == std::errc::invalid_seek);
    auto folder_itself = co_await file::open(here / "");
    auto const read = co_await aio::as_result(folder_itself.read(1));
    CHECK(code_of(read) == std::errc::is_a_directory);
  });
}

TEST_CASE("file: errors carry the path, and leave the position where it was") {
  temporary_folder const here;
  put(here / "f", "abc");
  aio::testing::run([&]() -> aio::task<> {
    auto f = co_await file::open(here / "f");
    auto const two = co_await f.read(2);
    CHECK(two == "ab");
    auto const outcome = co_await aio::as_result(f.write("x"));
    auto const* const e = outcome.error<aio::filesystem_error>();
    REQUIRE(e);
    CHECK(e->path1() == here / "f");
    CHECK_THAT(std::string(e->what()), ContainsSubstring("write") && ContainsSubstring((here / "f").string()));
    CHECK(f.tell() == 2);
    auto const c = co_await f.read();
    CHECK(c == "c");
  });
}

#if defined(__linux__)
TEST_CASE("file: a full disk is an error, of write and of write_text") {
  aio::testing::run([]() -> aio::task<> {
    auto full = co_await file::open("/dev/full", file_mode::write);
    auto const outcome = co_await aio::as_result(full.write("x"));
    CHECK(code_of(outcome) == std::errc::no_space_on_device);
    CHECK(full.tell() == 0);
    auto const whole = co_await aio::as_result(file::write_text("/dev/full", "x"));
    CHECK(code_of(whole) == std::errc::no_space_on_device);
  });
}
#endif

TEST_CASE("file: a write that the system takes a part of is an error, and may be repeated in its place") {
  temporary_folder const here;
  ::rlimit before{};
  ::getrlimit(RLIMIT_FSIZE, &before);
  auto* const handler = std::signal(SIGXFSZ, SIG_IGN);
  aio::testing::run([&]() -> aio::task<> {
    auto f = co_await file::open(here / "f", rewrite);
    co_await f.write("head");
    ::rlimit small = before;
    small.rlim_cur = 100'000;
    ::setrlimit(RLIMIT_FSIZE, &small);
    auto const outcome = co_await aio::as_result(f.write(std::string(200'000, 'x')));
    ::setrlimit(RLIMIT_FSIZE, &before);
    CHECK(code_of(outcome) == std::errc::file_too_large);
    CHECK(f.tell() == 4);
    co_await f.write(std::string(200'000, 'y'));
    CHECK(f.tell() == 200'004);
  });
  std::signal(SIGXFSZ, handler);
  CHECK((contents(here / "f") == "head" + std::string(200'000, 'y')));
}

TEST_CASE("file: calls that use the position take their turns, in order") {
  temporary_folder const here;
  aio::testing::run([&]() -> aio::task<> {
    auto f = co_await file::open(here / "f", rewrite);
    std::vector<aio::task_handle<void>> all;
    std::string expected;
    for (int i = 0; i < 100; ++i) {
      all.push_back(aio::create_task(f.write(std::to_string(i) + '\n')));
      expected += std::to_string(i) + '\n';
    }
    co_await hops(2);
    CHECK(said(co_await aio::as_result([&]() -> aio::task<> {
            f.seek(0);
            co_return;
          }())) == "aio::usage_error: file::seek: another call uses the position");
    for (auto const& each : all) co_await each;
    CHECK(contents(here / "f") == expected);
    f.seek(0);
    std::vector<aio::task_handle<std::string>> parts;
    for (int i = 0; i < 20; ++i) parts.push_back(aio::create_task(f.read(10)));
    std::string read;
    for (auto const& each : parts) read += co_await each;
    CHECK(read == expected.substr(0, 200));
  });
}

TEST_CASE("file: after close everything is refused, and what waits for its turn, too") {
  temporary_folder const here;
  put(here / "f", "text");
  aio::testing::run([&]() -> aio::task<> {
    auto f = co_await file::open(here / "f");
    auto const first = aio::create_task(f.read(2));
    auto const closing = aio::create_task(f.close());
    co_await hops(1);
    CHECK_FALSE(f.is_open());
    auto const late = co_await aio::as_result(f.read(2));
    CHECK(said(late) == "aio::usage_error: file::read: the file is closed");
    auto const te = co_await first;
    CHECK(te == "te");
    co_await closing;
    co_await f.close();
    CHECK(said(co_await aio::as_result(f.write("x"))) == "aio::usage_error: file::write: the file is closed");
    CHECK(said(co_await aio::as_result(f.size())) == "aio::usage_error: file::size: the file is closed");
    auto moved = co_await file::open(here / "f");
    file const to = std::move(moved);
    CHECK(to.is_open());
    CHECK_FALSE(moved.is_open());  // NOLINT(bugprone-use-after-move): it is empty
    CHECK(said(co_await aio::as_result(moved.next_line())) == "aio::usage_error: file::next_line: the file is closed");
  });
}

TEST_CASE("file: a call that is cancelled before a thread begins it does nothing") {
  temporary_folder const here;
  aio::run([&]() -> aio::task<> {
    auto f = co_await file::open(here / "f", rewrite);
    co_await f.write("abc\ndef\n");
    f.seek(0);
    full_pool busy;
    co_await busy.fill();
    auto const write = aio::create_task(f.write("xxx"));
    co_await hops(2);
    write.cancel();
    auto const ended = co_await aio::as_result(write);
    CHECK(ended.cancelled());
    auto const line = co_await aio::as_result(aio::wait_for(f.next_line(), 5ms));
    CHECK(said(line) == "aio::timeout_error: the operation timed out");
    auto const made = co_await aio::as_result(aio::wait_for(file::write_text(here / "g", "g"), 5ms));
    CHECK(said(made) == "aio::timeout_error: the operation timed out");
    CHECK(f.tell() == 0);
    co_await busy.release();
    auto const lines = co_await lines_of(f);
    CHECK(lines == strings{"abc", "def"});
  });
  CHECK_FALSE(std::filesystem::exists(here / "g"));
}

TEST_CASE("file: a cancelled read loses nothing, whenever the cancellation comes") {
  temporary_folder const here;
  std::string text;
  strings expected;
  for (int i = 0; i < 60'000; ++i) {
    expected.push_back("line " + std::to_string(i));
    text += expected.back() + '\n';
  }
  put(here / "f", text);
  aio::run([&]() -> aio::task<> {
    auto f = co_await file::open(here / "f");
    strings got;
    for (int round = 0; got.size() < expected.size(); ++round) {
      auto const reader = aio::create_task([&]() -> aio::task<> {
        while (auto const line = co_await f.next_line()) got.emplace_back(*line);
      });
      if (round < 100) {
        co_await hops(round % 7);
        reader.cancel();
      }
      (void)co_await aio::as_result(reader);
    }
    CHECK((got == expected));
    f.seek(0);
    std::string all;
    for (int round = 0; all.size() < text.size(); ++round) {
      auto const reader = aio::create_task([&]() -> aio::task<> {
        auto const part = co_await f.read(50'000);
        all += part;
      });
      co_await hops(round % 5);
      if (round % 2 == 0) reader.cancel();
      (void)co_await aio::as_result(reader);
    }
    CHECK((all == text));
  });
}

TEST_CASE("file: a cancelled write may be repeated, and the one that was left does not come after it") {
  temporary_folder const here;
  aio::run([&]() -> aio::task<> {
    auto f = co_await file::open(here / "f", rewrite);
    for (int round = 0; round < 60; ++round) {
      f.seek(0);
      auto const left = aio::create_task(f.write(std::string(2'000'000, 'a')));
      co_await hops(2);
      if (round % 3 != 0) co_await aio::sleep_for(std::chrono::microseconds(round * 20));
      if (!left.cancel()) continue;  // it was faster
      (void)co_await aio::as_result(left);
      if (!left.cancelled()) continue;
      CHECK(f.tell() == 0);
      co_await f.write("bbb");
      auto const begin = co_await f.read_at(0, 3);
      CHECK(begin == "bbb");
      co_await f.sync();
      auto const still = co_await f.read_at(0, 3);
      CHECK(still == "bbb");
    }
  });
}

TEST_CASE("file: run ends when the calls that were left have ended, and what they write is whole") {
  temporary_folder const here;
  for (int round = 0; round < 10; ++round) {
    aio::run([&]() -> aio::task<> {
      auto f = co_await file::open(here / "f", rewrite);
      auto const left = aio::create_task(f.write(std::string(1'000'000, 'a')));
      co_await aio::sleep_for(std::chrono::microseconds(round * 50));
    });
    auto const size = std::filesystem::file_size(here / "f");
    CHECK((size == 0 || size == 1'000'000));
  }
}

TEST_CASE("file: goes while a call runs, and is closed once") {
  temporary_folder const here;
  put(here / "f", std::string(1'000'000, 'x'));
  aio::run([&]() -> aio::task<> {
    std::optional<file> f(co_await file::open(here / "f"));
    int const descriptor = f->native_handle();
    auto const reader = aio::create_task(f->read());
    co_await hops(2);
    f.reset();
    auto const all = co_await reader;
    CHECK(all.size() == 1'000'000);
    co_await hops(2);
    CHECK(::fcntl(descriptor, F_GETFD) == -1);
  });
}

TEST_CASE("file: without descriptors opening fails, and is no leak when it is cancelled") {
  temporary_folder const here;
  put(here / "f", "x");
  ::rlimit before{};
  ::getrlimit(RLIMIT_NOFILE, &before);
  aio::run([&]() -> aio::task<> {
    auto const first = co_await file::open(here / "f");
    ::rlimit none = before;
    none.rlim_cur = static_cast<::rlim_t>(first.native_handle()) + 1;
    std::vector<int> gaps;
    ::setrlimit(RLIMIT_NOFILE, &none);
    for (int taken = ::dup(0); taken >= 0; taken = ::dup(0)) gaps.push_back(taken);
    auto const outcome = co_await aio::as_result(file::open(here / "f"));
    ::setrlimit(RLIMIT_NOFILE, &before);
    for (int const each : gaps) ::close(each);
    CHECK(code_of(outcome) == std::errc::too_many_files_open);
    for (int round = 0; round < 50; ++round) {
      auto const opening = aio::create_task(file::open(here / "f"));
      co_await hops(round % 5);
      opening.cancel();
      (void)co_await aio::as_result(opening);
    }
  });
  int const lowest = ::dup(0);
  ::close(lowest);
  CHECK(lowest < 30);
}
