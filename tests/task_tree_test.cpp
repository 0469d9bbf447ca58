// SPDX-License-Identifier: MIT
#include "aio/task_tree.hpp"

#include <atomic>
#include <chrono>
#include <functional>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include <asio/ip/tcp.hpp>

#include "aio/as_result.hpp"
#include "aio/detail/exceptions.hpp"
#include "aio/error.hpp"
#include "aio/event.hpp"
#include "aio/event_loop.hpp"
#include "aio/future.hpp"
#include "aio/gather.hpp"
#include "aio/limiter.hpp"
#include "aio/lock.hpp"
#include "aio/open_connection.hpp"
#include "aio/print_tasks.hpp"
#include "aio/queue.hpp"
#include "aio/race.hpp"
#include "aio/run.hpp"
#include "aio/semaphore.hpp"
#include "aio/sleep.hpp"
#include "aio/stream.hpp"
#include "aio/task_group.hpp"
#include "aio/task_handle.hpp"
#include "aio/testing/virtual_clock.hpp"
#include "aio/to_thread.hpp"
#include "aio/use_awaitable.hpp"
#include "support/catch.hpp"
#include "support/order.hpp"
#include "support/trace.hpp"

using namespace std::chrono_literals;
using aio_test::ContainsSubstring;
using aio_test::hops;

namespace {

/// "name depth: what it waits for" of each, joined; main is left out.
std::string waits() {
  std::string text;
  for (aio::task_info const& task : aio::task_tree()) {
    if (task.name == "main") continue;
    text += text.empty() ? "" : " | ";
    text += std::string(task.depth, '>') + task.name + ": " + task.waits_for;
  }
  return text;
}

std::string printed() {
  std::ostringstream out;
  aio::print_tasks(out);
  return aio_test::without_test_files(out.str());
}

template <class T>
aio::task_handle<T> named(char const* name, aio::task<T> what) {
  return aio::create_task(aio::task_options().name(name), std::move(what));
}

aio::task<> both(aio::lock& first, aio::lock& second) {
  auto const one = co_await first.acquire();
  co_await aio::sleep_for(1s);
  auto const other = co_await second.acquire();
}

aio::task<> gets(aio::queue<int>& from) { (void)co_await from.get(); }
aio::task<> sleeps(std::chrono::milliseconds length) { co_await aio::sleep_for(length); }

}  // namespace

TEST_CASE("task_tree: two locks in opposite order: each says who holds what it waits for") {
  aio::testing::run([]() -> aio::task<> {
    aio::current_task().set_name("main");
    aio::lock a;
    aio::lock b;
    auto const left = named("left", both(a, b));
    auto const right = named("right", both(b, a));
    auto const third = named("third", both(a, b));
    co_await aio::sleep_for(2s);
    CHECK(waits() ==
          "left: lock::acquire, held by right, 0 before it | right: lock::acquire, held by left, 1 before it | "
          "third: lock::acquire, held by left, 0 before it");
    for (auto const& each : {left, right, third}) each.cancel();
    co_await hops(3);
  });
}

TEST_CASE("task_tree: a lock says so when nobody that is left acquired it") {
  aio::testing::run([]() -> aio::task<> {
    aio::current_task().set_name("main");
    aio::lock one;
    aio::lock::guard kept;
    auto const acquires = [&]() -> aio::task<> { auto const held = co_await one.acquire(); };
    CHECK(one.try_acquire());
    auto waiting = named("waits", acquires());
    co_await hops(1);
    CHECK(waits() == "waits: lock::acquire, held by no task, 0 before it");
    one.release();
    co_await waiting;
    auto const keeps = [&]() -> aio::task<> { kept = co_await one.acquire(); };
    co_await named("keeps", keeps());
    waiting = named("waits", acquires());
    co_await hops(1);
    CHECK(waits() == "waits: lock::acquire, held by a task that has ended, 0 before it");
    kept.release();
    co_await waiting;
  });
}

TEST_CASE("task_tree: primitives say how many are before a task") {
  aio::testing::run([]() -> aio::task<> {
    aio::current_task().set_name("main");
    aio::semaphore permits(0);
    aio::queue<int> items(1);
    items.put_nowait(1);
    aio::queue<int> empty;
    aio::limiter slots(0);
    aio::event signal;
    auto const acquires = [&]() -> aio::task<> { auto const permit = co_await permits.acquire(); };
    auto const puts = [&]() -> aio::task<> { co_await items.put(2); };
    auto const borrows = [&]() -> aio::task<> { auto const slot = co_await slots.acquire(); };
    auto const waits_for = [&]() -> aio::task<> { co_await signal.wait(); };
    std::vector<aio::task_handle<void>> const all{
        named("s1", acquires()), named("s2", acquires()), named("p1", puts()), named("p2", puts()),
        named("g1", gets(empty)), named("g2", gets(empty)), named("l1", borrows()), named("l2", borrows()),
        named("e1", waits_for())};
    co_await hops(2);
    CHECK(waits() ==
          "s1: semaphore::acquire, 0 before it | s2: semaphore::acquire, 1 before it | p1: queue::put, 0 before it | "
          "p2: queue::put, 1 before it | g1: queue::get, 0 before it | g2: queue::get, 1 before it | "
          "l1: limiter::acquire, 0 before it | l2: limiter::acquire, 1 before it | e1: event::wait");
    for (auto const& each : all) each.cancel();
    co_await hops(3);
  });
}

TEST_CASE("task_tree: children stand behind the task whose group, gathering or race they are in, or that awaits them") {
  aio::testing::run([]() -> aio::task<> {
    aio::current_task().set_name("main");
    auto const group = []() -> aio::task<> {
      auto const body = [](aio::task_group& in) -> aio::task<> {
        in.create_task(aio::task_options().name("in group"), sleeps(1s));
        co_await aio::sleep_for(2500ms);
      };
      co_await aio::with_task_group(body);
    };
    auto const inner = named("awaited", sleeps(4s));
    auto const awaits = [&]() -> aio::task<> { co_await inner; };
    auto const gathers = []() -> aio::task<> { co_await aio::gather(sleeps(5s), sleeps(6s)); };
    auto const races = []() -> aio::task<> { (void)co_await aio::race(sleeps(7s), sleeps(8s)); };
    auto const a = named("group", group());
    auto const b = named("awaits", awaits());
    auto const c = named("gathers", gathers());
    auto const d = named("races", races());
    co_await hops(3);
    auto const all = aio::task_tree();
    std::string shape;
    for (auto const& each : all) {
      bool const unnamed = each.name.starts_with("Task-");
      shape += std::string(each.depth, '>') + (unnamed ? "child" : each.name) + ": " + each.waits_for + "\n";
    }
    CHECK(shape ==
          "main: \n"
          "group: sleep, 2.5 s left\n"
          ">in group: sleep, 1.0 s left\n"
          "awaits: awaited\n"
          ">awaited: sleep, 4.0 s left\n"
          "gathers: gather\n"
          ">child: sleep, 5.0 s left\n"
          ">child: sleep, 6.0 s left\n"
          "races: race\n"
          ">child: sleep, 7.0 s left\n"
          ">child: sleep, 8.0 s left\n");
    co_await aio::sleep_for(2s);
    CHECK(waits().starts_with("group: sleep, 0.5 s left | awaits"));
    co_await aio::gather(a, b, c, d);
  });
}

TEST_CASE("task_tree: tasks that await each other in a ring are each there once") {
  aio::testing::run([]() -> aio::task<> {
    aio::current_task().set_name("main");
    aio::task_handle<void> second;
    auto const awaits = [](aio::task_handle<void>& which) -> aio::task<> { co_await which; };
    auto first = named("first", awaits(second));
    second = named("second", awaits(first));
    co_await hops(2);
    CHECK(waits() == "first: second | >second: first");
    first.cancel();
    co_await hops(3);
  });
}

TEST_CASE("task_tree: says what a task does, where it was created, and which coroutines it is in") {
  aio::testing::run([]() -> aio::task<> {
    aio::current_task().set_name("main");
    unsigned const line = __LINE__ + 1;
    auto const slow = named("slow", [](int) -> aio::task<> { co_await sleeps(1s); }(1));
    auto const fresh = named("fresh", sleeps(1s));
    auto all = aio::task_tree();
    CHECK(all.size() == 3);
    CHECK(all[0].status == aio::task_status::running);
    CHECK(all[0].stack.empty());
    CHECK(all[1].status == aio::task_status::not_started);
    CHECK(!all[1].stack[0].begun);
    co_await hops(1);
    fresh.cancel();
    all = aio::task_tree();
    CHECK(all[1].status == aio::task_status::waiting);
    REQUIRE(all[1].stack.size() == 2);
    CHECK(all[1].stack[0].place.line() == line);
    CHECK_THAT(all[1].stack[0].function, ContainsSubstring("<lambda>"));
    CHECK(aio_test::without_test_files(all[1].stack[1].function) == "sleeps");
    CHECK(all[1].stack[1].begun);
    CHECK(!all[1].cancelling);
    CHECK(all[2].cancelling);
    co_await slow;
  });
}

TEST_CASE("task_tree: threads and operations of Asio are said by what they are") {
  aio::run([]() -> aio::task<> {
    aio::current_task().set_name("main");
    auto& context = aio::get_running_loop().context();
    asio::ip::tcp::acceptor acceptor(context, {asio::ip::address_v4::loopback(), 0});
    auto const accepts = [&]() -> aio::task<> { (void)co_await acceptor.async_accept(aio::use_awaitable); };
    std::atomic<bool> go_on{false};
    auto const in_thread = [&]() -> aio::task<> {
      co_await aio::to_thread([](std::atomic<bool>& go) {
        while (!go) std::this_thread::sleep_for(1ms);
      },
                              std::ref(go_on));
    };
    auto const accepting = named("accepts", accepts());
    auto const blocking = named("blocks", in_thread());
    for (int i = 0; i < 1000 && waits().find("that runs") == std::string::npos; ++i) co_await aio::sleep_for(10ms);
    CHECK(waits() == "accepts: async_accept | blocks: a function that runs in a thread");
    go_on = true;
    accepting.cancel();
    co_await blocking;
  });
}

TEST_CASE("task_tree: streams say where their peer is") {
  aio::run([]() -> aio::task<> {
    aio::current_task().set_name("main");
    auto& context = aio::get_running_loop().context();
    asio::ip::tcp::acceptor acceptor(context, {asio::ip::address_v4::loopback(), 0});
    auto const port = acceptor.local_endpoint().port();
    auto [reader, writer] = co_await aio::open_connection("127.0.0.1", port);
    auto const peer = co_await acceptor.async_accept(aio::use_awaitable);
    auto const reads = [](aio::stream_reader from) -> aio::task<> { (void)co_await from.readline(); };
    auto const writes = [](aio::stream_writer& to) -> aio::task<> {
      to.write(std::string(50'000'000, 'x'));
      co_await to.drain();
    };
    auto const reading = named("reads", reads(std::move(reader)));
    auto const writing = named("writes", writes(writer));
    co_await aio::sleep_for(10ms);
    std::string const address = "127.0.0.1:" + std::to_string(port);
#if AIO_HAS_TYPEID
    CHECK(waits() == "reads: stream_reader::readline from " + address + " | writes: drain, to " + address);
#else
    CHECK(waits() == "reads: stream_reader::readline from " + address + " | writes: something, to " + address);
#endif
    reading.cancel();
    writing.cancel();
    (void)co_await aio::as_result(reading);
    (void)co_await aio::as_result(writing);
    writer.abort();
  });
}

TEST_CASE("task_tree: in debug mode tasks say when they began, and threads how long they run") {
  aio::run(aio::run_options().debug(true), []() -> aio::task<> {
    aio::current_task().set_name("main");
    std::atomic<bool> go_on{false};
    auto const in_thread = [&]() -> aio::task<> {
      co_await aio::to_thread([&] {
        while (!go_on) std::this_thread::sleep_for(1ms);
      });
    };
    auto const blocking = named("blocks", in_thread());
    auto const text = [] {
      for (aio::task_info const& task : aio::task_tree()) {
        if (task.name == "blocks") return task.waits_for;
      }
      return std::string();
    };
    auto const runs = [&] { return text().starts_with("a function that runs in a thread, for "); };
    for (int i = 0; i < 6000 && (i < 12 || !runs()); ++i) co_await aio::sleep_for(10ms);
    CHECK(runs());
    for (aio::task_info const& task : aio::task_tree()) CHECK(task.age >= 100ms);
    go_on = true;
    co_await blocking;
  });
  aio::run([]() -> aio::task<> {
    for (aio::task_info const& task : aio::task_tree()) CHECK(task.age < 0s);
    co_return;
  });
}

TEST_CASE("print_tasks: in debug mode tasks say when they began, by the loop's clock") {
  aio::testing::run([]() -> aio::task<> {
    aio::get_running_loop().set_debug(true);
    aio::current_task().set_name("main");
    auto const sleeping = named("sleeps", sleeps(90s));
    co_await aio::sleep_for(61'500ms);
    CHECK_THAT(printed(), ContainsSubstring(", began 61.5 s ago\n    awaits at"));
    co_await sleeping;
  });
}

TEST_CASE("print_tasks: tasks that differ in their names and numbers alone are one paragraph, and children are inside") {
  aio::testing::run([]() -> aio::task<> {
    aio::current_task().set_name("main");
    aio::queue<int> empty;
    unsigned const place = __LINE__ + 3;
    auto const group = [&]() -> aio::task<> {
      auto const body = [&](aio::task_group& in) -> aio::task<> {
        for (int i = 0; i < 5; ++i) in.create_task(aio::task_options().name("g" + std::to_string(i)), gets(empty));
        co_return;
      };
      co_await aio::with_task_group(body);
    };
    auto const all = named("group", group());
    co_await hops(3);
    std::string const text = printed();
    CHECK_THAT(text, ContainsSubstring("    for the tasks of its task_group\n      g0, created at task_tree_test.cpp:" +
                                       std::to_string(place) + "\n        awaits at task_tree_test.cpp:"));
    CHECK(text.ends_with("in gets\n        for queue::get, 0 before it\n      and 4 more like it: g1, ..., g4\n"));
    for (int i = 0; i < 5; ++i) empty.put_nowait(i);
    co_await all;
  });
}

TEST_CASE("print_tasks: ten thousand tasks that await each other are written without recursion, in little text") {
  aio::testing::run([]() -> aio::task<> {
    std::vector<aio::task_handle<void>> chain;
    auto const awaits = [](aio::task_handle<void> inner) -> aio::task<> { co_await inner; };
    chain.push_back(aio::create_task(sleeps(1s)));
    for (int i = 0; i < 10'000; ++i) chain.push_back(aio::create_task(awaits(chain.back())));
    co_await hops(2);
    auto const all = aio::task_tree();
    CHECK(all.back().depth == 10'000);
    CHECK(printed().size() < 3'000'000);
    co_await chain.back();
  });
}

TEST_CASE("task_tree: outside of a loop is refused with advice") {
  CHECK_THROWS_WITH(aio::task_tree(), ContainsSubstring("task_tree needs a running event loop"));
}

TEST_CASE("task_tree: coroutines are called as their programmers call them, whatever compilers say") {
  auto const name = [](char const* text) { return aio::detail::coroutine_name(text); };
  CHECK(name("void plain(plain()::_Z5plainv.Frame*)") == "plain");
  CHECK(name("void app::svc::get(app::svc::get(const std::string&, int)::_ZN3app3svc3getE.Frame*)") == "app::svc::get");
  CHECK(name("void {anonymous}::inner({anonymous}::inner(int)::_ZN12_GLOBAL__N_15inner.Frame*)") == "inner");
  CHECK(name("void main()::<lambda()>::operator()(main()::<lambda()>::_ZZ4mainENKUlvE_clEv.Frame*)") ==
        "main()::<lambda>");
  CHECK(name("void f()::<lambda(std::vector<std::map<int, int> >)>::operator()(f()::_Z.Frame*)") == "f()::<lambda>");
  CHECK(name("app::serve()::<lambda(app::group&)>") == "app::serve()::<lambda>");  // of a frame that has not begun
  CHECK(name("aio::task<> plain()") == "plain");
  CHECK(name("aio::task<int> app::svc::get(const std::string &, int)") == "app::svc::get");
  CHECK(name("aio::task<T> app::svc::tt(T) [T = double]") == "app::svc::tt");
  CHECK(name("auto main()::(anonymous class)::operator()() const") == "main()::<lambda>");
  CHECK(name("auto main()::(lambda)::(lambda)::operator()() const") == "main()::<lambda>::<lambda>");  // Clang 23
  CHECK(name("auto main()::(anonymous class)::operator()()::(anonymous class)::operator()(std::vector<int>) const") ==
        "main()::<lambda>::<lambda>");
  CHECK(name("aio::task<> (anonymous namespace)::inner()") == "inner");
  CHECK(name("") == "");
  CHECK(name("something") == "something");
}
