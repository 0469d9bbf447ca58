// SPDX-License-Identifier: MIT

#include "aio/getaddrinfo.hpp"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <memory>
#include <net/if.h>
#include <netdb.h>
#include <netinet/in.h>
#include <new>
#include <stdexcept>
#include <string>
#include <sys/socket.h>
#include <sys/wait.h>
#include <system_error>
#include <thread>
#include <type_traits>
#include <unistd.h>
#include <utility>
#include <vector>

#include <asio/io_context.hpp>

#include "aio/as_result.hpp"
#include "aio/detail/resolver.hpp"
#include "aio/event_loop.hpp"
#include "aio/gather.hpp"
#include "aio/run.hpp"
#include "aio/sleep.hpp"
#include "aio/task_handle.hpp"
#include "aio/testing/virtual_clock.hpp"
#include "aio/timeout.hpp"
#include "aio/to_thread.hpp"
#include "support/catch.hpp"
#include "support/reports.hpp"
#include "support/trace.hpp"

#if defined(__SANITIZE_THREAD__)
#define AIO_TEST_FORKS_THREADS 0  // which that sanitizer cannot
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define AIO_TEST_FORKS_THREADS 0
#endif
#endif
#if !defined(AIO_TEST_FORKS_THREADS)
#define AIO_TEST_FORKS_THREADS 1
#endif

using namespace std::chrono_literals;
using namespace std::string_literals;
using aio::socket_address;
using aio_test::ContainsSubstring;
using aio_test::said;
using aio_test::thrown_by;
using aio_test::trace;

namespace {

/// What a stuck look-up waits for. Shared, because a look-up that is abandoned outlives the test.
struct gate {
  std::atomic<int> begun = 0;
  std::atomic<int> ended = 0;
  std::atomic<bool> open = false;
  void release() {
    open = true;
    open.notify_all();
  }
};

/// A look-up that takes until the gate opens.
auto stuck(std::shared_ptr<gate> const& at, int value = 1) {
  auto look_up = [at, value] {
    ++at->begun;
    at->open.wait(false);
    ++at->ended;
    return value;
  };
  return aio::detail::lookup_awaiter<decltype(look_up)>(std::move(look_up));
}
aio::task<int> await_stuck(std::shared_ptr<gate> at, int value) {
  auto call = stuck(at, value);
  co_return co_await std::move(call);
}

aio::task<> until(std::function<bool()> condition) {
  while (!condition()) co_await aio::sleep_for(1ms);
}

std::vector<std::string> texts(std::vector<socket_address> const& all) {
  std::vector<std::string> text;
  for (auto const& each : all) text.push_back(each.to_string());
  return text;
}

std::string joined(std::vector<socket_address> const& all) {
  std::string text;
  for (auto const& each : all) text += (text.empty() ? "" : " ") + each.to_string();
  return text;
}

/// Has the threads of look-ups end, which are all idle.
void end_threads() {
  auto& all = aio::detail::resolver::get();
  all.keep_idle_threads(1ms);
  for (int i = 0; i < 20'000 && all.threads() > 0; ++i) std::this_thread::sleep_for(1ms);
  CHECK(all.threads() == 0);
  all.keep_idle_threads(5s);
}

#if AIO_TEST_FORKS_THREADS
/// Runs `body` in a child process, and says how that ended.
template <class Fn>
int status_of_child(Fn body) {
  ::pid_t const child = ::fork();
  if (child == 0) {
    ::alarm(60);
    int code = 99;
    try {
      code = body();
    } catch (...) {
    }
    std::_Exit(code);
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + status;
}
#endif

}  // namespace

TEST_CASE("getaddrinfo: a numeric host does not suspend, and takes no thread", "[native]") {
  std::size_t const before = aio::detail::resolver::get().threads();
  aio::testing::run([]() -> aio::task<> {
    trace log;
    auto const other = aio::create_task([&]() -> aio::task<> {
      log("other");
      co_return;
    });
    auto const four = co_await aio::getaddrinfo("127.0.0.1", "80");
    auto const six = co_await aio::getaddrinfo("::1", 443, AF_INET6);
    auto const none = co_await aio::getaddrinfo("10.0.0.1", "");
    log(joined(four) + ' ' + joined(six) + ' ' + joined(none));
    co_await other;
    CHECK(log.text() == "127.0.0.1:80 [::1]:443 10.0.0.1:0 | other");
  });
  CHECK(aio::detail::resolver::get().threads() == before);
}

TEST_CASE("getaddrinfo: an address of a zone is of that interface", "[native]") {
#if defined(__linux__)
  std::string const interface = "lo";
#else
  std::string const interface = "lo0";
#endif
  aio::testing::run([&]() -> aio::task<> {
    auto const all = co_await aio::getaddrinfo("fe80::1%" + interface, 80);
    REQUIRE(all.size() == 1);
    CHECK(all[0].port() == 80);
    ::sockaddr_in6 raw{};
    std::memcpy(&raw, all[0].data(), std::min(sizeof raw, all[0].size()));
    CHECK(raw.sin6_scope_id == ::if_nametoindex(interface.c_str()));
  });
}

TEST_CASE("getaddrinfo: localhost is the loopback address, each once", "[native]") {
  aio::testing::run([]() -> aio::task<> {
    auto const all = co_await aio::getaddrinfo("localhost", "80", AF_INET);
    CHECK(texts(all) == std::vector<std::string>{"127.0.0.1:80"});
    auto const any = co_await aio::getaddrinfo("localhost", 80);
    CHECK(std::find(any.begin(), any.end(), all.front()) != any.end());
    for (auto const& each : any) CHECK(std::count(any.begin(), any.end(), each) == 1);
  });
}

TEST_CASE("getaddrinfo: no host is this one, and with AI_PASSIVE what a server listens on", "[native]") {
  aio::testing::run([]() -> aio::task<> {
    auto const here = co_await aio::getaddrinfo("", "80", AF_INET);
    CHECK(joined(here) == "127.0.0.1:80");
    auto const all = co_await aio::getaddrinfo("", "", AF_INET, AI_PASSIVE);
    CHECK(joined(all) == "0.0.0.0:0");
  });
}

TEST_CASE("getaddrinfo: an unknown host is an error that names it, with the code of the system", "[native]") {
  aio::testing::run([]() -> aio::task<> {
    // AI_NUMERICHOST: nobody is asked.
    auto const outcome = co_await aio::as_result(aio::getaddrinfo("no-such-host.invalid", "80", 0, AI_NUMERICHOST));
    auto const* const e = outcome.error<aio::system_error>();
    REQUIRE(e);
    CHECK(e->code() == aio::error_code(EAI_NONAME, aio::getaddrinfo_category()));
    CHECK(std::string(e->what()).starts_with(  // Boost's goes on with the category and the number
        "host \"no-such-host.invalid\", service \"80\": "s + ::gai_strerror(EAI_NONAME)));
    auto const other = co_await aio::as_result(aio::getaddrinfo("127.0.0.1", "no-such-service"));
    auto const* const service = other.error<aio::system_error>();
    REQUIRE(service);
    CHECK(service->code().category() == aio::getaddrinfo_category());
    auto const mismatch = co_await aio::as_result(aio::getaddrinfo("127.0.0.1", "80", AF_INET6));
    CHECK(mismatch.error<aio::system_error>());
  });
  CHECK(aio::error_code(EAI_AGAIN, aio::getaddrinfo_category()) == std::errc::resource_unavailable_try_again);
  CHECK(aio::error_code(EAI_MEMORY, aio::getaddrinfo_category()) == std::errc::not_enough_memory);
  CHECK(aio::error_code(EAI_FAMILY, aio::getaddrinfo_category()) == std::errc::address_family_not_supported);
  CHECK(aio::getaddrinfo_category().name() == "getaddrinfo"s);
}

TEST_CASE("getaddrinfo: a port that is too large is refused, and a NUL byte in a name", "[native]") {
  CHECK_THAT(thrown_by([] { return aio::getaddrinfo("localhost", "65536"); }), ContainsSubstring("65536"));
  CHECK_THROWS_AS(aio::getaddrinfo("127.0.0.1\0.example.org"s, "80"), std::invalid_argument);
  CHECK_THROWS_AS(aio::getaddrinfo("localhost", "80\0"s), std::invalid_argument);
}

TEST_CASE("getaddrinfo: getnameinfo gives names, or numbers where they are asked for", "[native]") {
  aio::testing::run([]() -> aio::task<> {
    auto const where = socket_address::from_numeric("127.0.0.1", 80).value();
    auto const numbers = co_await aio::getnameinfo(where, NI_NUMERICHOST | NI_NUMERICSERV);
    CHECK(numbers.host == "127.0.0.1");
    CHECK(numbers.service == "80");
    auto const wrong = co_await aio::as_result(aio::getnameinfo(socket_address()));
    auto const* const e = wrong.error<aio::system_error>();
    REQUIRE(e);
    CHECK(e->code().category() == aio::getaddrinfo_category());
  });
}

TEST_CASE("getaddrinfo: can be awaited with a limit, gathered, and kept for later", "[native]") {
  aio::testing::run([]() -> aio::task<> {
    auto const limited = co_await aio::wait_for(aio::getaddrinfo("localhost", "80", AF_INET), 60s);
    CHECK(joined(limited) == "127.0.0.1:80");
    auto const [a, b] = co_await aio::gather(aio::getaddrinfo("127.0.0.1", "1"), aio::getaddrinfo("127.0.0.1", "2"));
    CHECK(joined(a) + ' ' + joined(b) == "127.0.0.1:1 127.0.0.1:2");
    auto later = aio::getaddrinfo("localhost", "80", AF_INET);
    auto moved = std::move(later);
    auto const all = co_await std::move(moved);
    CHECK(all.size() == 1);
    { (void)aio::getaddrinfo("localhost", "80"); }
  });
}

TEST_CASE("getaddrinfo: a cancelled look-up is abandoned, and neither the task nor run waits for it", "[native]") {
  auto const at = std::make_shared<gate>();
  auto const began = std::chrono::steady_clock::now();
  trace log;
  aio::run([&]() -> aio::task<> {
    auto const waits = aio::create_task([&]() -> aio::task<> {
      try {
        auto call = stuck(at);
        co_await std::move(call);
        log("came");
      } catch (aio::cancelled_error const& e) {
        log("cancelled " + std::string(e.message()));
        throw;
      }
    });
    co_await until([&] { return at->begun == 1; });
    CHECK(waits.cancel("enough"));
    auto const outcome = co_await aio::as_result(waits);
    CHECK(outcome.cancelled());
    log("main");
  });
  CHECK(log.text() == "cancelled enough | main");
  CHECK(at->ended == 0);
  CHECK(std::chrono::steady_clock::now() - began < 30s);
  at->release();
  while (at->ended < 1) std::this_thread::sleep_for(1ms);
}

TEST_CASE("getaddrinfo: a look-up that is cancelled before a thread begins it never runs", "[native]") {
  aio::run([]() -> aio::task<> {
    auto const at = std::make_shared<gate>();
    auto const late = std::make_shared<gate>();
    std::vector<aio::task_handle<int>> all;
    for (int i = 0; i < 8; ++i) all.push_back(aio::create_task(await_stuck(at, i)));
    co_await until([&] { return at->begun == 8; });
    CHECK(aio::detail::resolver::get().threads() == aio::detail::resolver::most_threads);
    auto const ninth = aio::create_task(await_stuck(late, 9));
    auto const cancelled_at_once = aio::create_task(await_stuck(late, 10));
    cancelled_at_once.cancel();
    co_await aio::sleep_for(5ms);
    CHECK(cancelled_at_once.cancelled());
    CHECK_FALSE(ninth.done());
    ninth.cancel();
    auto const outcome = co_await aio::as_result(ninth);
    CHECK(outcome.cancelled());
    at->release();
    int sum = 0;
    for (auto const& each : all) sum += co_await each;
    CHECK(sum == 28);
    // The threads are free again, and nobody came to what was withdrawn.
    auto const last = co_await aio::getaddrinfo("localhost", "80", AF_INET);
    CHECK(last.size() == 1);
    CHECK(late->begun == 0);
  });
}

TEST_CASE("getaddrinfo: to_thread's threads and those of look-ups are not in each other's way", "[native]") {
  aio::run([]() -> aio::task<> {
    auto const at = std::make_shared<gate>();
    auto& pool = aio::get_running_loop().default_executor();
    CHECK_FALSE(pool.runs_here());
    std::vector<aio::task_handle<int>> all;
    for (int i = 0; i < 8; ++i) all.push_back(aio::create_task(await_stuck(at, i)));
    co_await until([&] { return at->begun == 8; });
    int const n = co_await aio::to_thread([] { return 5; });
    CHECK(n == 5);
    at->release();
    for (auto const& each : all) co_await each;
  });
}

TEST_CASE("getaddrinfo: a look-up that ends when it is cancelled is either, and never touches a loop that is gone", "[native]") {
  for (int i = 0; i < 300; ++i) {
    auto const at = std::make_shared<gate>();
    aio::run([&]() -> aio::task<> {
      auto const a = aio::create_task(await_stuck(at, 1));
      auto const b = aio::create_task(await_stuck(at, 2));
      co_await until([&] { return at->begun > 0; });
      at->release();
      if (i % 3 == 0) co_await aio::sleep_for(0s);
      a.cancel();
      // b is cancelled by the end of run
    });
  }
}

TEST_CASE("getaddrinfo: works on a context that the program runs", "[native]") {
  asio::io_context context;
  aio::event_loop loop{context};
  auto const found = loop.create_task([]() -> aio::task<std::string> {
    auto const all = co_await aio::getaddrinfo("localhost", "80", AF_INET);
    co_return joined(all);
  });
  context.run();
  CHECK(found.result() == "127.0.0.1:80");
}

TEST_CASE("getaddrinfo: threads end when they have had nothing to do for a while, and come again", "[native]") {
  auto& all = aio::detail::resolver::get();
  auto const look = []() -> aio::task<> {
    auto const found = co_await aio::getaddrinfo("localhost", "80", AF_INET);
    CHECK(found.size() == 1);
  };
  aio::run(look);
  CHECK(all.threads() > 0);
  end_threads();
  aio::run(look);
  CHECK(all.threads() == 1);
}

#if AIO_TEST_FORKS_THREADS

TEST_CASE("getaddrinfo: works in a child process, whatever hangs in its parent", "[native]") {
  auto const at = std::make_shared<gate>();
  aio::run([&]() -> aio::task<> {
    std::vector<aio::task_handle<int>> all;
    for (int i = 0; i < 10; ++i) all.push_back(aio::create_task(await_stuck(at, i)));
    co_await until([&] { return at->begun == 8; });
    int const status = status_of_child([&] {
      int code = 7;
      // Not inside of the parent's loop: on a thread of its own.
      std::thread([&] {
        aio::run([&]() -> aio::task<> {
          auto const found = co_await aio::getaddrinfo("localhost", "80", AF_INET);
          code = found.size() == 1 && aio::detail::resolver::get().threads() == 1 ? 0 : 8;
        });
      }).join();
      return code;
    });
    CHECK(status == 0);
    at->release();
    for (auto const& each : all) co_await each;  // those of the parent are as they were
    CHECK(at->begun == 10);
  });
}

TEST_CASE("getaddrinfo: the process ends while a look-up hangs", "[native][alone]") {
  end_threads();  // else who looks for leaks in the child misses them there
  auto const began = std::chrono::steady_clock::now();
  auto const body = [](bool inside) {
    auto const at = std::make_shared<gate>();
    aio::run([&]() -> aio::task<> {
      auto const waits = aio::create_task(await_stuck(at, 1));
      co_await until([&] { return at->begun == 1; });
      if (inside) std::exit(5);
    });
    std::exit(5);
    return 0;
  };
  CHECK(status_of_child([&] { return body(false); }) == 5);
  CHECK(status_of_child([&] { return body(true); }) == 5);
  CHECK(std::chrono::steady_clock::now() - began < 60s);
}

#endif  // AIO_TEST_FORKS_THREADS

TEST_CASE("getaddrinfo: families are put in turn behind the first ones", "[native]") {
  auto const all = [](std::string const& names) {
    std::vector<socket_address> made;
    for (char const name : names) {
      if (name >= 'a') {
        made.push_back(socket_address::from_numeric("10.0.0." + std::to_string(name - 'a' + 1), 1).value());
      } else {
        made.push_back(socket_address::from_numeric("::" + std::to_string(name - 'A' + 1), 1).value());
      }
    }
    return made;
  };
  auto const in_turn = [&](std::string const& names, std::size_t count) {
    std::string text;
    for (auto const& each : aio::detail::interleave_families(all(names), count)) {
      auto const host = each.host();
      text += static_cast<char>((each.is_v4() ? 'a' : 'A') + host.back() - '1');
    }
    return text;
  };
  CHECK(in_turn("abcDE", 1) == "aDbEc");
  CHECK(in_turn("abcDE", 2) == "abDcE");
  CHECK(in_turn("abcDE", 3) == "abcDE");
  CHECK(in_turn("abcDE", 9) == "abcDE");
  CHECK(in_turn("abcDE", 0) == "abcDE");
  CHECK(in_turn("ABcDe", 1) == "AcBeD");
  CHECK(in_turn("abc", 1) == "abc");
  CHECK(in_turn("", 1).empty());
}
