// SPDX-License-Identifier: MIT

// Values and functions of the program's own that throw, or call back, where aio moves, calls or drops them: whoever
// waits hears of it. What is particular to queues is in queue_test.cpp.

#include <exception>
#include <functional>
#include <memory>
#include <future>
#include <new>
#include <stdexcept>
#include <string>
#include <system_error>
#include <utility>

#include <asio/associated_cancellation_slot.hpp>
#include <asio/async_result.hpp>
#include <asio/execution.hpp>
#include <asio/io_context.hpp>
#include <asio/post.hpp>

#include "aio/as_result.hpp"
#include "aio/future.hpp"
#include "aio/gather.hpp"
#include "aio/race.hpp"
#include "aio/sleep.hpp"
#include "aio/task_group.hpp"
#include "aio/testing/virtual_clock.hpp"
#include "aio/timeout.hpp"
#include "aio/to_thread.hpp"
#include "aio/use_awaitable.hpp"
#include "support/catch.hpp"
#include "support/counted.hpp"
#include "support/reports.hpp"

using namespace std::chrono_literals;
using aio_test::counted;
using aio_test::reports;
using aio_test::said;
using aio_test::thrown_by;

namespace {

/// Cannot be copied in the end.
struct not_copied {
  not_copied() = default;
  not_copied(not_copied&&) noexcept = default;
  not_copied(not_copied const&) { throw std::bad_alloc(); }
};

/// Throws when it is moved for the given time from now.
struct brittle {
  brittle() = default;
  brittle(brittle&&) { burn(); }
  brittle& operator=(brittle&&) {
    burn();
    return *this;
  }
  static void burn() {
    if (fuse > 0 && --fuse == 0) throw std::runtime_error("moved");
  }
  inline static int fuse = 0;
};
/// Whose result is the next thing that is moved.
aio::task<brittle> make_brittle() {
  brittle made;
  brittle::fuse = 2;
  co_return made;
}

std::string const moved = "std::runtime_error: moved";

}  // namespace

TEST_CASE("user code: a copy that throws is the error of a gathering, awaited or as a future") {
  aio::testing::run([]() -> aio::task<> {
    auto const made = aio::create_task([]() -> aio::task<not_copied> { co_return not_copied(); });
    auto const awaited = co_await aio::as_result(aio::gather(made));
    CHECK(said(awaited) == "std::bad_alloc: std::bad_alloc");
    auto const of_done = aio::gather(made).as_future();
    CHECK(said(of_done.exception()) == "std::bad_alloc: std::bad_alloc");
    aio::future<not_copied> later;
    auto const of_later = aio::gather(later, made).as_future();
    later.set_result();
    auto const ended = co_await aio::as_result(of_later);
    CHECK(said(ended) == "std::bad_alloc: std::bad_alloc");
  });
}

TEST_CASE("user code: a value that was taken away before a gathering was over is its error") {
  aio::testing::run([]() -> aio::task<> {
    aio::future<int> first;
    aio::future<int> second;
    auto const both = aio::gather(first, second).as_future();
    first.set_result(1);
    (void)co_await std::move(first);
    second.set_result(2);
    auto const ended = co_await aio::as_result(both);
    CHECK(said(ended).starts_with("aio::invalid_state_error: the result was taken away"));
  });
}

TEST_CASE("user code: a result whose move throws is an error in every block around it") {
  aio::testing::run([]() -> aio::task<> {
    auto const plain = co_await aio::as_result(make_brittle());
    CHECK(said(plain) == moved);
    auto const limited = co_await aio::as_result(aio::wait_for(make_brittle(), 1s));
    CHECK(said(limited) == moved);
    bool cleaned = false;
    auto const cleaned_up = co_await aio::as_result(aio::with_finally(make_brittle(), [&]() -> aio::task<> {
      cleaned = true;
      co_return;
    }));
    CHECK(said(cleaned_up) == moved);
    CHECK(cleaned);
    aio::any_task_handle child;
    auto const grouped = co_await aio::as_result(aio::with_task_group([&](aio::task_group& group) {
      child = group.create_task(aio::sleep_for(1h));
      return make_brittle();
    }));
    CHECK(said(grouped) == "aio::exception_group: unhandled errors in a task_group (1 error)\n  " + moved);
    CHECK(child.done());
    aio::timeout limit;
    auto const given = co_await aio::as_result(aio::with_timeout(limit, [] { return make_brittle(); }));
    CHECK(said(given) == moved);
    auto const raced = co_await aio::as_result(aio::race(make_brittle(), aio::sleep_for(1s)));
    CHECK(said(raced) == moved);
    brittle::fuse = 0;
    auto const in_thread = co_await aio::as_result(aio::to_thread([] {
      brittle made;
      brittle::fuse = 1;
      return made;
    }));
    CHECK(said(in_thread) == moved);
  });
}

TEST_CASE("user code: a coroutine that returns again after a destructor threw gives the second value") {
  struct fails_to_close {
    ~fails_to_close() noexcept(false) { throw std::runtime_error("close failed"); }
  };
  auto read = []() -> aio::task<counted> {
    try {
      fails_to_close const file;
      co_return counted(1);
    } catch (std::runtime_error const&) {
    }
    co_return counted(2);
  };
  {
    counted const got = aio::testing::run(read());
    CHECK(got.value() == 2);
    CHECK(counted::living() == 1);
  }
  CHECK(counted::living() == 0);
}

TEST_CASE("user code: an empty handle is refused where a handle of any type is made of it") {
  aio::testing::run([]() -> aio::task<> {
    auto handle = aio::create_task([]() -> aio::task<> { co_return; });
    auto const taken = std::move(handle);
    CHECK(thrown_by([&] { return aio::any_task_handle(handle).valid(); }).starts_with("aio::usage_error"));
    co_await taken;
  });
}

TEST_CASE("user code: a result that lost its value in an assignment that failed says so") {
  aio::result<brittle> kept(std::in_place);
  aio::result<brittle> error(std::make_exception_ptr(std::runtime_error("error")));
  brittle::fuse = 1;
  CHECK(thrown_by([&] { kept = aio::result<brittle>(std::in_place); return 0; }) != "");
  brittle::fuse = 1;
  CHECK(thrown_by([&] { error = std::move(kept); return 0; }) == moved);
  if (!error.has_value()) {
    CHECK(error.error() != nullptr);
    CHECK_THROWS(error.value());
  }
  brittle::fuse = 0;
}

namespace {

/// Sets the future that it is the result of.
struct meddler {
  explicit meddler(std::function<void()> const& meddle) { meddle(); }
};

}  // namespace

TEST_CASE("user code: a result whose constructor sets or cancels its own future is made once") {
  aio::testing::run([]() -> aio::task<> {
    aio::future<meddler> set_twice;
    set_twice.set_result([&] {
      CHECK(thrown_by([&] { set_twice.set_result([] {}); return 0; }).starts_with("aio::invalid_state_error"));
    });
    CHECK(set_twice.done());
    aio::future<meddler> cancelled;
    CHECK(thrown_by([&] { cancelled.set_result([&] { cancelled.cancel(); }); return 0; })
              .starts_with("aio::invalid_state_error"));
    CHECK(cancelled.cancelled());
    co_return;
  });
}

TEST_CASE("user code: an error whose what() is null is described") {
  struct wordless : std::exception {
    char const* what() const noexcept override { return nullptr; }
  };
  std::string const text = said(std::make_exception_ptr(wordless()));
  CHECK(text.find("what() is null") != std::string::npos);
}

TEST_CASE("user code: a move that throws on its way into a concurrent_future arrives there") {
  aio::event_loop loop;
  auto future = aio::run_coroutine_threadsafe(make_brittle(), loop);
  auto wait = []() -> aio::task<> { co_await aio::sleep_for(0s); co_await aio::sleep_for(0s); };
  loop.run_until_complete(wait());
  loop.run_until_complete(wait());
  CHECK(thrown_by([&] { (void)future.get(); return 0; }) == moved);
  brittle::fuse = 0;
}

namespace {

/// An executor that drops what it is given, and throws.
struct refusing_executor {
  template <class Function>
  void execute(Function&& function) const {
    { auto const dropped = std::forward<Function>(function); }
    throw std::runtime_error("refused");
  }
  refusing_executor require(asio::execution::blocking_t::never_t) const noexcept { return *this; }
  static constexpr asio::execution::blocking_t query(asio::execution::blocking_t) noexcept {
    return asio::execution::blocking.never;
  }
  friend bool operator==(refusing_executor const&, refusing_executor const&) noexcept = default;
};

}  // namespace

TEST_CASE("user code: what an executor throws when it is given a function is heard by who waits") {
  aio::testing::run([]() -> aio::task<> {
    auto const ran = co_await aio::as_result(aio::run_in_executor(refusing_executor(), [] { return 1; }));
    CHECK(said(ran) == "std::runtime_error: refused");
  });
}

namespace {

/// An operation whose cancellation handler throws once, and which ends when that was called.
auto async_stubborn(asio::io_context& on) {
  return asio::async_initiate<aio::use_awaitable_t const, void(aio::error_code)>(
      [&on](auto handler) {
        auto slot = asio::get_associated_cancellation_slot(handler);
        auto const shared = std::make_shared<decltype(handler)>(std::move(handler));
        slot.assign([&on, shared](asio::cancellation_type) {
          asio::post(on, [shared] { std::move (*shared)(asio::error::operation_aborted); });
          throw std::runtime_error("stubborn");
        });
      },
      aio::use_awaitable);
}

}  // namespace

TEST_CASE("user code: an operation whose cancellation handler throws is reported, and its group ends as ever") {
  aio::testing::run([]() -> aio::task<> {
    reports const heard;
    auto const grouped = co_await aio::as_result(aio::with_task_group([](aio::task_group& group) -> aio::task<> {
      group.create_task([]() -> aio::task<> { co_await async_stubborn(aio::get_running_loop().context()); });
      group.create_task([]() -> aio::task<> {
        co_await aio::sleep_for(1s);
        throw std::runtime_error("failed");
      }());
      co_return;
    }));
    CHECK(said(grouped).find("std::runtime_error: failed") != std::string::npos);
    CHECK(heard.text() == "the cancellation handler of an operation failed: std::runtime_error: stubborn");
  });
}
