// SPDX-License-Identifier: MIT
#include "aio/to_thread.hpp"

#include <asio/strand.hpp>
#include <asio/system_executor.hpp>
#include <asio/thread_pool.hpp>
#include <future>
#include <thread>
#include <vector>

#include "aio/as_result.hpp"
#include "aio/event.hpp"
#include "aio/gather.hpp"
#include "aio/run.hpp"
#include "aio/sleep.hpp"
#include "aio/testing/virtual_clock.hpp"
#include "aio/timeout.hpp"
#include "support/catch.hpp"
#include "support/trace.hpp"

using namespace std::chrono_literals;
using aio_test::ContainsSubstring;

namespace {

/// A switch that threads wait for.
class gate {
 public:
  void open() {
    open_ = true;
    open_.notify_all();
  }
  void wait() { open_.wait(false); }

 private:
  std::atomic<bool> open_ = false;
};

/// Waits for what a thread does, without blocking the loop.
aio::task<> until(std::atomic<bool>& condition) {
  while (!condition) co_await aio::sleep_for(1ms);
}

/// Awaits to_thread(fn, args...) in a task of its own.
template <class... Given>
auto in_thread(Given... given) -> aio::task<decltype(aio::to_thread(std::move(given)...).await_resume())> {
  auto call = aio::to_thread(std::move(given)...);
  co_return co_await std::move(call);
}

/// Counts how often objects that were made of it are destroyed.
struct counted {
  explicit counted(std::atomic<int>& balance) : balance_(&balance) { ++*balance_; }
  counted(counted&& other) noexcept : balance_(other.balance_) { ++*balance_; }
  counted(counted const& other) : balance_(other.balance_) { ++*balance_; }
  ~counted() { --*balance_; }
  std::atomic<int>* balance_;
};

struct no_default {
  explicit no_default(int v) : value(v) {}
  int value;
};

}  // namespace

TEST_CASE("to_thread: calls the function on another thread and comes back to the loop's") {
  aio::run([]() -> aio::task<> {
    auto const here = std::this_thread::get_id();
    auto const there = co_await aio::to_thread([] { return std::this_thread::get_id(); });
    CHECK(there != here);
    CHECK(std::this_thread::get_id() == here);
  });
}

TEST_CASE("to_thread: gives what the function returns") {
  aio::run([]() -> aio::task<> {
    int const sum = co_await aio::to_thread([](int a, long b) { return a + static_cast<int>(b); }, 40, 2L);
    CHECK(sum == 42);
    bool called = false;
    co_await aio::to_thread([&] { called = true; });
    CHECK(called);
    auto const moved = co_await aio::to_thread([](std::unique_ptr<int> p) { return p; }, std::make_unique<int>(7));
    CHECK(*moved == 7);
    auto const made = co_await aio::to_thread([] { return no_default(3); });
    CHECK(made.value == 3);
    static int x = 0;
    int& same = co_await aio::to_thread([]() -> int& { return x; });
    CHECK(&same == &x);
  });
}

TEST_CASE("to_thread: calls the function once, with the arguments it was given") {
  aio::run([]() -> aio::task<> {
    aio_test::trace log;  // only that thread writes, and only while the loop waits for it
    auto record = [&](std::string_view text, bool flag) { log(std::string(text) + (flag ? " true" : " false")); };
    co_await aio::to_thread(record, "test", true);
    CHECK(log.text() == "test true");
  });
}

TEST_CASE("to_thread: takes functions, members and objects that can only be moved") {
  struct account {
    int balance = 5;
    int add(int n) { return balance += n; }
  };
  aio::run([]() -> aio::task<> {
    int const length = co_await aio::to_thread(static_cast<int (*)(int)>(std::abs), -4);
    CHECK(length == 4);
    account mine;
    int const balance = co_await aio::to_thread(&account::add, &mine, 2);
    CHECK(balance == 7);
    CHECK(mine.balance == 7);
    auto fn = std::bind_front([](std::unique_ptr<int> const& p) { return *p; }, std::make_unique<int>(9));
    int const nine = co_await aio::to_thread(std::move(fn));
    CHECK(nine == 9);
  });
}

TEST_CASE("to_thread: copies its arguments, and std::ref passes a reference") {
  aio::run([]() -> aio::task<> {
    std::string text = "before";
    auto append = [](std::string& to) { to += "!"; };
    co_await aio::to_thread(append, std::ref(text));
    CHECK(text == "before!");
    auto call = aio::to_thread([](std::string const& seen) { return seen; }, text);
    text = "after";
    std::string const seen = co_await std::move(call);
    CHECK(seen == "before!");
  });
}

TEST_CASE("to_thread: throws what the function throws") {
  auto main = []() -> aio::task<> {
    co_await aio::to_thread([] { throw std::runtime_error("there"); });
  };
  CHECK_THROWS_WITH(aio::run(main), "there");
}

TEST_CASE("to_thread: destroys the function, its arguments and the result exactly once") {
  std::atomic<int> balance = 0;
  aio::run([&]() -> aio::task<> {
    auto fn = [c = counted(balance)](counted const& given) { return given; };
    counted const result = co_await aio::to_thread(fn, counted(balance));
    auto never_awaited = aio::to_thread(fn, counted(balance));
    CHECK(balance > 0);
  });
  CHECK(balance == 0);
}

TEST_CASE("to_thread: the function's captures go before its task resumes") {
  std::atomic<int> balance = 0;
  aio::run([&]() -> aio::task<> {
    co_await aio::to_thread([](counted const&) {}, counted(balance));
    CHECK(balance == 0);
  });
}

TEST_CASE("to_thread: several run at the same time") {
  aio::run([]() -> aio::task<> {
    gate first, second;
    auto a = [&] { first.open(); second.wait(); return 1; };
    auto b = [&] { second.open(); first.wait(); return 2; };
    auto [x, y] = co_await aio::gather(in_thread(a), in_thread(b));
    CHECK(x + y == 3);
  });
}

TEST_CASE("to_thread: a thousand at once all come back") {
  std::atomic<int> calls = 0;
  aio::run([&]() -> aio::task<> {
    std::vector<aio::task<int>> all;
    for (int i = 0; i < 1000; ++i) {
      all.push_back(in_thread([&calls](int n) { ++calls; return n; }, i));
    }
    auto const results = co_await aio::gather(std::move(all));
    bool right = results.size() == 1000;
    for (int i = 0; right && i < 1000; ++i) right = results[static_cast<std::size_t>(i)] == i;
    CHECK(right);
  });
  CHECK(calls == 1000);
}

TEST_CASE("to_thread: the loop runs on meanwhile") {
  aio::run([]() -> aio::task<> {
    gate ticked;
    aio::get_running_loop().call_later(2ms, [&] { ticked.open(); });
    co_await aio::to_thread([&] { ticked.wait(); });
  });
  SUCCEED();
}

// ---- cancellation

TEST_CASE("to_thread: a task cancelled before it begins to wait never calls the function") {
  std::atomic<bool> called = false;
  aio::run([&]() -> aio::task<> {
    auto main = [&]() -> aio::task<> {
      aio::current_task().cancel("now");
      co_await aio::to_thread([&] { called = true; });
    };
    auto handle = aio::create_task(main);
    auto const ended = co_await aio::as_result(handle);
    CHECK(ended.cancelled());
  });
  CHECK_FALSE(called);
}

TEST_CASE("to_thread: a function that no thread has begun is withdrawn by a cancellation") {
  for (bool const abandoned : {false, true}) {
    std::atomic<bool> called = false;
    gate done;
    aio::run([&]() -> aio::task<> {
      std::vector<aio::task_handle<>> blockers;
      for (int i = 0; i < 64; ++i) blockers.push_back(aio::create_task(in_thread([&] { done.wait(); })));
      auto calls = [&] { called = true; };
      auto handle = abandoned ? aio::create_task(aio::to_thread(aio::abandon_on_cancel, calls))
                              : aio::create_task(aio::to_thread(calls));
      co_await aio::sleep_for(5ms);
      handle.cancel();
      auto const ended = co_await aio::as_result(handle);  // while every thread is busy
      CHECK(ended.cancelled());
      done.open();
      for (auto& each : blockers) co_await each;
    });
    CHECK_FALSE(called);
  }
}

TEST_CASE("to_thread: a running function is asked to stop and waited for by a cancellation") {
  std::atomic<bool> begun = false, ended = false;
  aio::run([&]() -> aio::task<> {
    auto handle = aio::create_task(in_thread([&](aio::stop_token stop) {
      begun = true;
      while (!stop.stop_requested()) std::this_thread::sleep_for(1ms);
      std::this_thread::sleep_for(5ms);
      ended = true;
      return 5;
    }));
    co_await until(begun);
    handle.cancel("enough");
    handle.cancel("twice");
    try {
      co_await handle;
      CHECK(false);
    } catch (aio::cancelled_error const& e) {
      CHECK(e.message() == "enough");
      CHECK(ended);
    }
    CHECK(handle.cancelled());
  });
}

TEST_CASE("to_thread: a function without a stop_token is waited for, too, and what it refers to lives") {
  std::atomic<bool> begun = false;
  gate go;
  aio::run([&]() -> aio::task<> {
    auto main = [&]() -> aio::task<> {
      std::string local(100, 'x');
      co_await aio::to_thread([&] {
        begun = true;
        go.wait();
        local += "y";
      });
    };
    auto handle = aio::create_task(main);
    co_await until(begun);
    handle.cancel();
    co_await aio::sleep_for(5ms);
    CHECK_FALSE(handle.done());
    go.open();
    auto const ended = co_await aio::as_result(handle);
    CHECK(ended.cancelled());
  });
}

TEST_CASE("to_thread: what a function throws after its task was cancelled goes to the exception handler") {
  aio_test::trace log;
  std::atomic<bool> begun = false;
  auto const options = aio::run_options().exception_handler(
      [&](aio::exception_context const& context) { log(context.message + ": " + context.task); });
  aio::run(options, [&]() -> aio::task<> {
    auto handle = aio::create_task(in_thread([&](aio::stop_token stop) {
                    begun = true;
                    while (!stop.stop_requested()) std::this_thread::sleep_for(1ms);
                    throw std::runtime_error("stopped");
                  })).set_name("worker");
    co_await until(begun);
    handle.cancel();
    auto const ended = co_await aio::as_result(handle);
    CHECK(ended.cancelled());
  });
  CHECK(log.text() == "a function in a thread failed after its task was cancelled: worker");
}

TEST_CASE("to_thread: a task cancelled after the return but before it resumes is cancelled") {
  std::atomic<int> balance = 0;
  std::atomic<bool> begun = false;
  gate go;
  aio::run([&]() -> aio::task<> {
    auto& loop = aio::get_running_loop();
    auto handle = aio::create_task(in_thread([&] {
      begun = true;
      go.wait();
      return counted(balance);
    }));
    co_await until(begun);
    go.open();
    std::this_thread::sleep_for(30ms);  // the result lies in the loop's inbox
    loop.call_soon([&] { loop.call_soon([&] { handle.cancel(); }); });
    auto const ended = co_await aio::as_result(handle);
    CHECK(ended.cancelled());
  });
  CHECK(balance == 0);
}

TEST_CASE("to_thread: a timeout waits for the function") {
  aio::run([]() -> aio::task<> {
    std::atomic<bool> stopped = false;
    auto body = [&]() -> aio::task<> {
      co_await aio::to_thread([&](aio::stop_token stop) {
        while (!stop.stop_requested()) std::this_thread::sleep_for(1ms);
        stopped = true;
      });
    };
    auto const ended = co_await aio::as_result(aio::with_timeout(300ms, body));
    CHECK(stopped);
    CHECK_THROWS_AS(ended.rethrow(), aio::timeout_error);
  });
}

TEST_CASE("to_thread: abandon_on_cancel throws the cancellation at once, and run waits for the thread") {
  std::atomic<bool> begun = false, ended = false;
  gate go;
  aio::run([&]() -> aio::task<> {
    auto main = [&]() -> aio::task<> {
      auto work = [&](aio::stop_token stop) {
        begun = true;
        go.wait();
        ended = stop.stop_requested();
        throw std::runtime_error("nobody hears this");
      };
      co_await aio::to_thread(aio::abandon_on_cancel, work);
    };
    auto handle = aio::create_task(main);
    co_await until(begun);
    handle.cancel();
    auto const result = co_await aio::as_result(handle);
    CHECK(result.cancelled());
    CHECK_FALSE(ended);
    go.open();
  });
  CHECK(ended);
}

TEST_CASE("to_thread: abandon_on_cancel gives the result when nothing is cancelled") {
  aio::run([]() -> aio::task<> {
    int const n = co_await aio::to_thread(aio::abandon_on_cancel, [](int x) { return x + 1; }, 1);
    CHECK(n == 2);
  });
}

// ---- run_in_executor

TEST_CASE("run_in_executor: runs on any executor of Asio") {
  asio::thread_pool pool(2);
  asio::io_context other;
  auto guard = asio::make_work_guard(other);
  std::thread thread([&] { other.run(); });
  auto const other_id = thread.get_id();
  aio::run([&]() -> aio::task<> {
    auto id = [] { return std::this_thread::get_id(); };
    auto const in_pool = co_await aio::run_in_executor(pool.get_executor(), id);
    CHECK(in_pool != std::this_thread::get_id());
    auto const in_context = co_await aio::run_in_executor(other.get_executor(), id);
    CHECK(in_context == other_id);
    auto const in_strand = co_await aio::run_in_executor(asio::make_strand(other), id);
    CHECK(in_strand == other_id);
    int const sum = co_await aio::run_in_executor(asio::system_executor(), [](int a, int b) { return a + b; }, 1, 2);
    CHECK(sum == 3);
    auto call = aio::run_in_executor(pool.get_executor(), [] { throw std::runtime_error("in the pool"); });
    auto const ended = co_await aio::as_result(std::move(call));
    CHECK_THROWS_WITH(ended.rethrow(), "in the pool");
  });
  guard.reset();
  thread.join();
}

TEST_CASE("run_in_executor: on the loop's own context runs on the loop's thread") {
  aio::run([]() -> aio::task<> {
    auto const here = std::this_thread::get_id();
    auto const there =
        co_await aio::run_in_executor(aio::get_running_loop().get_executor(),
                                      [] { return std::this_thread::get_id(); });
    CHECK(there == here);
  });
}

TEST_CASE("run_in_executor: begins when it is awaited") {
  asio::thread_pool pool(1);
  std::atomic<bool> called = false;
  aio::run([&]() -> aio::task<> {
    auto call = aio::run_in_executor(pool.get_executor(), [&] { called = true; });
    co_await aio::sleep_for(5ms);
    CHECK_FALSE(called);
    co_await std::move(call);
    CHECK(called);
  });
}

TEST_CASE("run_in_executor: an executor that goes without running the function makes it throw") {
  aio::run([]() -> aio::task<> {
    auto pool = std::make_unique<asio::thread_pool>(1);
    gate begun, go;
    asio::post(*pool, [&] { begun.open(); go.wait(); });
    begun.wait();
    auto main = [&]() -> aio::task<> {
      co_await aio::run_in_executor(pool->get_executor(), [] { FAIL("it was called"); });
    };
    auto handle = aio::create_task(main);
    co_await aio::sleep_for(0s);
    pool->stop();
    go.open();
    pool.reset();
    auto const ended = co_await aio::as_result(handle);
    CHECK_THROWS_WITH(ended.rethrow(), ContainsSubstring("the executor was destroyed"));
  });
}

TEST_CASE("run_in_executor: a loop that is done at once waits for the thread that is still waking it") {
  asio::thread_pool pool(2);
  auto main = [&]() -> aio::task<> {
    auto work = [&]() -> aio::task<> { co_await aio::run_in_executor(pool.get_executor(), [] {}); };
    auto handle = aio::create_task(work);
    while (!handle.done()) co_await aio::sleep_for(0s);  // the loop finds the result before it is woken
  };
  for (int i = 0; i < 300; ++i) aio::run(main);
  SUCCEED("sanitizers find nothing");
}

TEST_CASE("run_in_executor: a cancelled function that was not begun is skipped, also when the loop is gone") {
  gate begun, go;
  std::atomic<bool> called = false;
  auto captured = std::make_shared<int>();
  asio::thread_pool pool(1);
  asio::post(pool, [&] { begun.open(); go.wait(); });
  begun.wait();
  aio::run([&]() -> aio::task<> {
    auto work = [&called, captured] { called = true; };
    auto main = [&]() -> aio::task<> { co_await aio::run_in_executor(pool.get_executor(), work); };
    auto handle = aio::create_task(main);
    co_await aio::sleep_for(0s);
    handle.cancel();
    auto const ended = co_await aio::as_result(handle);
    CHECK(ended.cancelled());
  });
  go.open();
  pool.join();
  CHECK_FALSE(called);
  CHECK(captured.use_count() == 1);
}

// ---- run_coroutine_threadsafe

namespace {

/// A loop on a thread of its own.
class background {
 public:
  background() : thread_([this] { loop.run_forever(); }) {}
  ~background() {
    loop.call_soon_threadsafe([this] { loop.stop(); });
    thread_.join();
  }
  aio::event_loop loop;

 private:
  std::thread thread_;
};

/// What `future` throws, when the loop has let go of it: the thread sanitizer does not see the
/// counter inside libstdc++ that makes it safe to share an exception.
template <class T>
std::exception_ptr error_of(aio::concurrent_future<T>& future, aio::event_loop& loop) {
  std::exception_ptr error;
  try {
    future.get();
  } catch (...) {
    error = std::current_exception();
  }
  for (int i = 0; i < 2; ++i) {
    auto nothing = []() -> aio::task<> { co_return; };
    aio::run_coroutine_threadsafe(nothing(), loop).get();
  }
  return error;
}

aio::task<int> add(int a, int b) {
  co_await aio::sleep_for(1ms);
  co_return a + b;
}

}  // namespace

TEST_CASE("run_coroutine_threadsafe: a future of none is empty, as a std::future is") {
  aio::concurrent_future<int> future;
  CHECK_FALSE(future.valid());
  CHECK_THROWS_AS(future.cancel(), std::future_error);
}

TEST_CASE("run_coroutine_threadsafe: gives the value to another thread") {
  background other;
  CHECK(aio::run_coroutine_threadsafe(add(1, 2), other.loop).get() == 3);
  auto nothing = []() -> aio::task<> { co_return; };
  aio::run_coroutine_threadsafe(nothing(), other.loop).get();
  auto only_moved = []() -> aio::task<std::unique_ptr<int>> { co_return std::make_unique<int>(4); };
  CHECK(*aio::run_coroutine_threadsafe(only_moved(), other.loop).get() == 4);
}

TEST_CASE("run_coroutine_threadsafe: gives what the task throws") {
  background other;
  auto fails = []() -> aio::task<> { throw std::runtime_error("there"); co_return; };
  auto future = aio::run_coroutine_threadsafe(fails(), other.loop);
  CHECK_THROWS_WITH(std::rethrow_exception(error_of(future, other.loop)), "there");
  auto cancels = []() -> aio::task<> {
    aio::current_task().cancel();
    co_await aio::sleep_for(1h);
  };
  auto cancelled = aio::run_coroutine_threadsafe(cancels(), other.loop);
  CHECK_THROWS_AS(std::rethrow_exception(error_of(cancelled, other.loop)), aio::cancelled_error);
}

TEST_CASE("run_coroutine_threadsafe: many threads can use one loop") {
  background other;
  std::atomic<int> sum = 0;
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < 50; ++i) sum += aio::run_coroutine_threadsafe(add(i, 0), other.loop).get();
    });
  }
  for (auto& thread : threads) thread.join();
  CHECK(sum == 4 * 1225);
}

TEST_CASE("run_coroutine_threadsafe: its future can cancel the task") {
  background other;
  auto main = []() -> aio::task<> { co_await aio::sleep_for(1h); };
  auto at_once = aio::run_coroutine_threadsafe(main(), other.loop);
  CHECK(at_once.cancel());
  CHECK_THROWS_AS(std::rethrow_exception(error_of(at_once, other.loop)), aio::cancelled_error);
  auto later = aio::run_coroutine_threadsafe(main(), other.loop);
  std::this_thread::sleep_for(2ms);
  CHECK(later.cancel());
  CHECK_THROWS_AS(std::rethrow_exception(error_of(later, other.loop)), aio::cancelled_error);
  auto done = aio::run_coroutine_threadsafe(add(1, 1), other.loop);
  done.wait();
  CHECK_FALSE(done.cancel());
  CHECK(done.get() == 2);
}

TEST_CASE("run_coroutine_threadsafe: a wait that times out leaves the task running, to be cancelled or not") {
  background other;
  std::promise<void> ended;
  auto main = [&]() -> aio::task<> {
    auto const slept = co_await aio::as_result(aio::sleep_for(1h));
    ended.set_value();
    slept.rethrow();
  };
  auto future = aio::run_coroutine_threadsafe(main(), other.loop);
  CHECK(future.wait_for(2ms) == std::future_status::timeout);
  CHECK(ended.get_future().wait_for(0s) == std::future_status::timeout);
  CHECK(future.cancel());
  CHECK_THROWS_AS(std::rethrow_exception(error_of(future, other.loop)), aio::cancelled_error);
  auto const count = []() -> aio::task<std::size_t> { co_return aio::all_tasks().size(); };
  CHECK(aio::run_coroutine_threadsafe(count(), other.loop).get() == 1);  // itself
}

TEST_CASE("run_coroutine_threadsafe: a task that somebody on the loop cancels makes it throw that") {
  background other;
  auto const main = []() -> aio::task<int> {
    auto const self = aio::current_task();
    aio::get_running_loop().call_soon([self] { self.cancel("on the loop"); });
    co_await aio::sleep_for(1h);
    co_return 0;
  };
  auto future = aio::run_coroutine_threadsafe(main(), other.loop);
  try {
    std::rethrow_exception(error_of(future, other.loop));
  } catch (aio::cancelled_error const& error) {
    CHECK(error.message() == "on the loop");
  }
}

TEST_CASE("run_coroutine_threadsafe: from one loop's thread pool to another loop works") {
  background other;
  aio::run([&]() -> aio::task<> {
    int const n = co_await aio::to_thread(
        [&] { return aio::run_coroutine_threadsafe(add(20, 22), other.loop).get(); });
    CHECK(n == 42);
  });
}

TEST_CASE("run_coroutine_threadsafe: a closed loop is refused") {
  aio::event_loop loop;
  loop.close();
  CHECK_THROWS_WITH(aio::run_coroutine_threadsafe(add(1, 2), loop), ContainsSubstring("is closed"));
}

TEST_CASE("to_thread: a cancellation that the task brings along is on its way, and cannot be taken back any more") {
  aio::testing::run([]() -> aio::task<> {
    bool called = false;
    auto main = [&]() -> aio::task<> {
      aio::current_task().cancel();
      co_await aio::to_thread([&] { called = true; });
    };
    auto handle = aio::create_task(main);
    aio::get_running_loop().call_soon([&] { CHECK(handle.uncancel() == 0); });
    auto const ended = co_await aio::as_result(handle);
    CHECK(ended.cancelled());
    CHECK_FALSE(called);
  });
}

namespace {

aio::task<int> answer_after(std::chrono::milliseconds delay) {
  co_await aio::sleep_for(delay);
  co_return 42;
}

/// What a thread hears that was left behind: a number, or why there is none.
template <class T>
std::string heard(std::future<T>& result) {
  if (result.wait_for(10s) != std::future_status::ready) return "nothing";
  try {
    return std::to_string(result.get());
  } catch (aio::cancelled_error const& e) {
    return "cancelled: " + std::string(e.message());
  } catch (std::exception const& e) {
    return e.what();
  }
}

/// Leaves a function in a thread that asks the loop for things once main is over.
aio::task<> leave_behind(std::string& log, std::atomic<bool>& main_is_over) {
  auto& loop = aio::get_running_loop();
  std::atomic<bool> begun = false;
  auto const asks = [&log, &loop, &main_is_over, &begun] {
    begun = true;
    while (!main_is_over) std::this_thread::yield();
    std::string first;
    do {  // what comes while the tasks that main left are cancelled is cancelled with them
      auto served = aio::run_coroutine_threadsafe(answer_after(1ms), loop);
      first = heard(served);
    } while (first == "cancelled: ");
    log += first;
    std::promise<int> told;
    auto telling = told.get_future();
    loop.call_soon_threadsafe([&] { told.set_value(7); });
    log += " | " + heard(telling);
    // Nobody will ever set it: this thread would wait, and the loop for it.
    auto stranded = aio::run_coroutine_threadsafe([](aio::future<int> f) -> aio::task<int> { co_return co_await f; }(
                                                                             loop.create_future<int>()),
                                                  loop);
    log += " | " + heard(stranded);
  };
  auto const waiting = aio::create_task(aio::to_thread(aio::abandon_on_cancel, asks));
  while (!begun) co_await aio::sleep_for(0s);
  waiting.cancel();
  (void)co_await aio::as_result(waiting);
}

std::string const all_served = "42 | 7 | cancelled: the event loop is shutting down";

}  // namespace

TEST_CASE("close: serves a function in a thread that asks the loop for something, and then waits for it") {
  std::string log;
  std::atomic<bool> over = false;
  SECTION("run") {
    aio::run([&]() -> aio::task<> {
      co_await leave_behind(log, over);
      over = true;
    });
  }
  SECTION("a virtual clock") {
    aio::testing::run([&]() -> aio::task<> {
      co_await leave_behind(log, over);
      over = true;
    });
  }
  SECTION("a runner that main leaves with an exception") {
    aio::runner runner;
    CHECK_THROWS_AS(runner.run([&]() -> aio::task<> {
      co_await leave_behind(log, over);
      over = true;
      throw std::runtime_error("main");
    }),
                    std::runtime_error);
    runner.close();
  }
  SECTION("a context that the program runs") {
    asio::io_context context;
    aio::event_loop loop(context);
    loop.run_until_complete(leave_behind(log, over));
    over = true;
    loop.close();
  }
  CHECK(log == all_served);
}

TEST_CASE("run_coroutine_threadsafe: what is done in the last step of main reaches who waits") {
  aio::event go;
  bool waits = false;
  std::future<int> result;
  std::atomic<bool> submitted = false;
  std::thread other;
  auto const answers = [&]() -> aio::task<int> {
    waits = true;
    co_await go.wait();
    co_return 42;
  };
  SECTION("under run") {
    aio::run([&]() -> aio::task<> {
      auto& loop = aio::get_running_loop();
      other = std::thread([&] {
        result = aio::run_coroutine_threadsafe(answers(), loop);
        submitted = true;
      });
      while (!submitted || !waits) co_await aio::sleep_for(0s);
      go.set();
    });
  }
  SECTION("on a loop that is closed at once") {
    asio::io_context context;
    aio::event_loop loop(context);
    loop.run_until_complete([&]() -> aio::task<> {
      other = std::thread([&] {
        result = aio::run_coroutine_threadsafe(answers(), loop);
        submitted = true;
      });
      while (!submitted || !waits) co_await aio::sleep_for(0s);
      go.set();
    }());
    loop.close();
  }
  other.join();
  CHECK(heard(result) == "42");
}

TEST_CASE("run_coroutine_threadsafe: threads that come while the loop is closed are answered or refused") {
  for (int round = 0; round < 20; ++round) {
    std::atomic<int> answered = 0;
    std::atomic<int> refused = 0;
    std::atomic<int> others = 0;
    std::atomic<bool> begun = false;
    std::vector<std::thread> threads;
    aio::event_loop loop;
    for (int i = 0; i < 3; ++i) {
      threads.emplace_back([&] {
        for (;;) {
          try {
            loop.call_soon_threadsafe([] {});
            auto result = aio::run_coroutine_threadsafe(answer_after(0ms), loop);
            begun = true;
            std::string const got = heard(result);
            bool const known = got == "42" || got == "cancelled: " ||
                               got == "run_coroutine_threadsafe: the event loop was closed before the task began";
            ++(known ? answered : others);
          } catch (aio::usage_error const&) {
            ++refused;
            return;
          }
        }
      });
    }
    loop.run_until_complete([&]() -> aio::task<> {
      while (!begun) co_await aio::sleep_for(0s);
    }());
    loop.close();
    for (auto& each : threads) each.join();
    CHECK(others == 0);
    CHECK(refused == 3);
  }
}

TEST_CASE("run_coroutine_threadsafe: of a loop that never runs it is answered when that is closed") {
  aio::event_loop loop;
  auto result = aio::run_coroutine_threadsafe(answer_after(1h), loop);
  loop.close();
  CHECK(heard(result) == "run_coroutine_threadsafe: the event loop was closed before the task began");
  CHECK_FALSE(result.cancel());
  CHECK_THROWS_WITH(aio::run_coroutine_threadsafe(answer_after(1h), loop),
                    "run_coroutine_threadsafe: the event loop is closed");
}
