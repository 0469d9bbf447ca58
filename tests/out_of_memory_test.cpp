// SPDX-License-Identifier: MIT

// Memory that runs out, at every single place where memory is asked for: what was started is ended, what was taken is
// given back, and who called hears bad_alloc. An executable of its own, because it replaces operator new.

#include <chrono>
#include <cstddef>
#include <exception>
#include <memory>
#include <new>
#include <optional>
#include <ranges>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "aio/aio.hpp"
#include "aio/detail/children.hpp"
#include "aio/detail/children_race.hpp"
#include "aio/testing/virtual_clock.hpp"
#include "support/catch.hpp"
#include "support/counted.hpp"
#include "support/refusals.hpp"

using namespace std::chrono_literals;
using aio_test::counted;
using aio_test::refuse_after;
using aio_test::refusal;
using aio_test::refused;
using aio_test::tells_of_memory;

namespace {

/// Runs `program` on a loop of its own, again and again, see fail_everywhere(). Children that were left are cancelled
/// when the loop ends.
template <class Program>
void survives(Program program) {
  auto const none_lives = [] { REQUIRE(counted::living() == 0); };
  auto const options = aio::testing::fail_options().tasks_may_stay().invariant(none_lives);
  CHECK(aio::testing::fail_everywhere(options, program) > 0);
}

aio::task<int> child(int n, std::chrono::seconds d = 0s) {
  counted const alive(n);
  co_await aio::sleep_for(d);
  co_return alive.value();
}

}  // namespace

TEST_CASE("out of memory: a chain of awaits") {
  survives([]() -> aio::task<> {
    auto const middle = []() -> aio::task<int> { co_return co_await child(1) + co_await child(2, 1s); };
    if (co_await middle() != 3) throw std::logic_error("wrong sum");
  });
}

TEST_CASE("out of memory: tasks that are awaited by their handles") {
  survives([]() -> aio::task<> {
    auto a = aio::create_task(child(1, 1s)).set_name("a name that is too long to stand in the string itself");
    auto b = aio::create_task(child, 2, 2s);
    int const sum = co_await a + co_await b;
    if (sum != 3) throw std::logic_error("wrong sum");
  });
}

// Every child has a copy of its context variables, which takes memory while the children are started.
aio::context_var<std::string> inherited("nothing");

// What a gathering or a race started has ended a few iterations after it gave up, if not before.
#define AIO_TEST_ENDS_ALL(...)                                                       \
  do {                                                                               \
    inherited.set("something that is too long to stand in the string itself");       \
    auto const ended = co_await aio::as_result(__VA_ARGS__);                         \
    for (int i = 0; i < 4; ++i) co_await aio::sleep_for(0s);                         \
    if (counted::living() != 0) throw std::logic_error("children were left to run"); \
    if (!ended.has_value()) ended.rethrow();                                         \
  } while (false)

TEST_CASE("out of memory: gather of arguments and of a range") {
  survives([]() -> aio::task<> { AIO_TEST_ENDS_ALL(aio::gather(child(1), child(2, 1s), child(3, 2s))); });
  survives([]() -> aio::task<> {
    std::vector<aio::task<int>> children;
    for (int i = 0; i < 5; ++i) children.push_back(child(i, i * 1s));
    AIO_TEST_ENDS_ALL(aio::gather(std::move(children)));
  });
  survives([]() -> aio::task<> {
    auto handle = aio::create_task(child(1, 1s));
    (void)co_await aio::gather(aio::return_exceptions, handle, child(2));
  });
}

TEST_CASE("out of memory: race of arguments and of a range") {
  survives([]() -> aio::task<> { AIO_TEST_ENDS_ALL(aio::race(child(1, 3s), child(2, 1s), child(3, 2s))); });
  survives([]() -> aio::task<> {
    std::vector<aio::task<int>> children;
    for (int i = 0; i < 5; ++i) children.push_back(child(i, i * 1s));
    AIO_TEST_ENDS_ALL(aio::race(std::move(children)));
  });
}

TEST_CASE("out of memory: a group, its children and their errors") {
  survives([]() -> aio::task<> {
    co_await aio::with_task_group([](aio::task_group& group) -> aio::task<> {
      for (int i = 0; i < 3; ++i) group.create_task(child(i, i * 1s));
      co_await child(4, 1s);
    });
  });
}

TEST_CASE("out of memory: a child that is waited for until it is ready, and one that fails before") {
  survives([]() -> aio::task<> {
    co_await aio::with_task_group([](aio::task_group& group) -> aio::task<> {
      auto const serve = [](aio::started<int> ready, int value) -> aio::task<> {
        co_await aio::sleep_for(1s);
        if (value < 0) throw std::out_of_range("less than 0");
        ready(value);
        co_await aio::sleep_for(1s);
      };
      int const got = co_await group.start(serve, 1);
      if (got != 1) throw std::logic_error("another one");
      auto const failed = co_await aio::as_result(group.start(serve, -1));
      if (!failed.error<std::out_of_range>()) failed.rethrow();
    });
  });
}

TEST_CASE("out of memory: a set of tasks, some of which are taken, and the others cancelled") {
  survives([]() -> aio::task<> {
    aio::task_set<int> jobs;
    for (int i = 1; i < 4; ++i) jobs.create_task(child, i, i * 1s);
    jobs.create_task(aio::task_options().name("a name that is too long to stand in the string itself"), child(4, 4s));
    auto const done = co_await jobs.next();
    if (!done || done->result() != 1) throw std::logic_error("another one");
    co_await jobs.cancel_and_wait();
    if (!jobs.empty()) throw std::logic_error("some are left");
  });
}

namespace {

// An error that is neither lost nor told twice, whatever memory is refused.
struct numbered_error {
  int number;
};
constinit int thrown[4]{};
constinit int heard[4]{};

[[noreturn]] void throw_numbered(int number) {
  ++thrown[number];
  throw numbered_error{number};
}
void hear(std::exception_ptr const& error) {
  try {
    if (error) std::rethrow_exception(error);
  } catch (numbered_error const& each) {
    ++heard[each.number];
  } catch (aio::exception_group const& group) {
    for (std::exception_ptr const& each : group.exceptions()) hear(each);
  } catch (...) {
  }
}

aio::task<> fails(int number) {
  co_await child(number, 1s);
  throw_numbered(number);
}

/// Awaits what `make` gives, and requires that each error is thrown, or told, once.
template <class Make>
aio::task<> hears_all_of(Make make) {
  for (int& each : thrown) each = 0;
  for (int& each : heard) each = 0;
  aio::get_running_loop().set_exception_handler([](aio::exception_context const& context) { hear(context.exception); });
  auto const ended = co_await aio::as_result(make());
  if (!ended.has_value()) hear(ended.error());
  for (int i = 0; i < 4; ++i) {
    if (heard[i] != thrown[i]) throw std::logic_error("an error was lost, or told twice");
  }
  if (!ended.has_value() && tells_of_memory(ended.error())) ended.rethrow();
}
template <class Body>
aio::task<> hears_all(Body body) {
  co_await hears_all_of([&] { return aio::with_task_group(body); });
}

/// Waits for all, and throws the errors of the first three.
class three_of_all {
 public:
  static constexpr char const* caller = "three_of_all";
  static constexpr char const* too_late = "not one of three";

  void begin(std::size_t count) { ended_.reserve(count); }
  bool enough_with(aio::detail::child_view, std::size_t index) {
    if (index < 3) ended_.push_back(index);
    return false;
  }
  template <class Children>
  int take(Children& children) {
    throw aio::detail::group_of("three that failed", children, ended_);
  }

 private:
  std::vector<std::size_t> ended_;
};

}  // namespace

TEST_CASE("out of memory: race(keep_all) and first_success") {
  survives([]() -> aio::task<> {
    AIO_TEST_ENDS_ALL(aio::race(aio::keep_all, child(1, 3s), child(2, 1s), child(3, 2s)));
  });
  survives([]() -> aio::task<> {
    std::vector<aio::task<int>> children;
    for (int i = 0; i < 5; ++i) children.push_back(child(i, i * 1s));
    AIO_TEST_ENDS_ALL(aio::race(aio::keep_all, aio::return_exceptions, std::move(children)));
  });
  survives([]() -> aio::task<> { AIO_TEST_ENDS_ALL(aio::first_success(child(1, 3s), child(2, 1s), child(3, 2s))); });
  survives([]() -> aio::task<> {
    co_await hears_all_of([] { return aio::first_success(fails(0), fails(1), fails(3)); });
  });
}

TEST_CASE("out of memory: as_completed(at_most) leaves none of its calls behind") {
  survives([]() -> aio::task<> {
    auto const call = [](int n) { return child(n, n * 1s); };
    auto const body = [](aio::bounded_completions<int>& results) -> aio::task<> {
      for (auto next : results) {
        if (co_await next == 3) co_return;
      }
    };
    auto calls = std::views::iota(0, 6) | std::views::transform(call);
    AIO_TEST_ENDS_ALL(aio::with_closing(aio::as_completed(aio::at_most(2), calls), body));
  });
}

TEST_CASE("out of memory: what waits as race does, and throws the errors of its children, loses none") {
  survives([]() -> aio::task<> {
    co_await hears_all_of(
        [] { return aio::detail::race_children(three_of_all(), fails(0), fails(1), child(1, 5s), fails(3)); });
  });
  survives([]() -> aio::task<> {
    std::vector<aio::task<>> children;
    for (int i = 0; i < 4; ++i) children.push_back(fails(i));
    co_await hears_all_of([&] { return aio::detail::race_children(three_of_all(), aio::moved(children)); });
  });
}

TEST_CASE("out of memory: a group loses no error of its children and its body") {
  survives([]() -> aio::task<> {
    co_await hears_all([](aio::task_group& group) -> aio::task<> {
      group.create_task(fails(0)).set_name("a name that is too long to stand in the string itself");
      group.create_task(fails(1));
      group.create_task(child(3, 5s));
      co_return;
    });
  });
  survives([]() -> aio::task<> {
    co_await hears_all([](aio::task_group& group) -> aio::task<> {
      group.create_task(fails(2));
      co_await aio::sleep_for(1s);
      throw_numbered(3);
    });
  });
}

TEST_CASE("out of memory: a group of errors says its message alone, and the whole once there is memory") {
  auto const deep = std::make_exception_ptr(std::runtime_error("deep"));
  aio::exception_group const inner("an inner group", {deep});
  aio::exception_group const group("a group", {std::make_exception_ptr(inner)});
  long granted = 0;
  for (;; ++granted) {
    char const* said = nullptr;
    {
      refusal const now(granted, true);
      said = group.what();
    }
    if (refused() == 0) break;
    REQUIRE(std::string(said) == "a group");
  }
  CHECK(granted > 1);
  CHECK(std::string(group.what()) == "a group (1 error)\n  an inner group (1 error)\n    std::runtime_error: deep");
}

TEST_CASE("out of memory: a body of a group that is no coroutine itself") {
  survives([]() -> aio::task<> {
    (void)co_await aio::with_task_group([](aio::task_group& group) {
      group.create_task(child(1, 1s));
      group.create_task(child(2, 2s));
      return child(3, 3s);
    });
  });
}

TEST_CASE("out of memory: a group that outlives its loop") {
  std::optional<aio::task_group> group;
  survives([&]() -> aio::task<> {
    group.emplace();
    auto const ended = co_await aio::as_result(aio::with_task_group(*group, [](aio::task_group& inside) -> aio::task<> {
      inside.create_task(fails(0));
      co_return;
    }));
    if (!ended.has_value() && tells_of_memory(ended.error())) ended.rethrow();
  });
}

TEST_CASE("out of memory: tasks that are left to a loop that closes, and clean up with each other's help") {
  struct teller {
    explicit teller(std::shared_ptr<aio::event> to) noexcept : told(std::move(to)) {}
    teller(teller&&) = default;
    ~teller() {
      if (told) told->set();
    }
    std::shared_ptr<aio::event> told;
  };
  survives([]() -> aio::task<> {
    auto const told = std::make_shared<aio::event>();
    auto const waits = [](std::shared_ptr<aio::event> to) -> aio::task<> {
      aio::event never;
      (void)co_await aio::as_result(never.wait());
      co_await to->wait();
    };
    auto const tells = [](teller at_end) -> aio::task<> {
      aio::event never;
      (void)co_await aio::as_result(never.wait());
      (void)co_await aio::as_result(aio::sleep_for(1s));
      (void)at_end;
    };
    auto first = aio::create_task(waits(told));
    auto second = aio::create_task(tells(teller(told)));
    co_await aio::sleep_for(1s);
  });
}

TEST_CASE("out of memory: timeouts, shield, wait and as_completed") {
  survives([]() -> aio::task<> {
    (void)co_await aio::wait_for(child(1, 1s), 2s);
    auto const late = co_await aio::as_result(aio::with_timeout(1s, [] { return child(2, 2s); }));
    if (late.has_value()) throw std::logic_error("no timeout");
  });
  survives([]() -> aio::task<> {
    auto inner = aio::create_task(child(1, 1s));
    (void)co_await aio::shield(inner);
  });
  survives([]() -> aio::task<> {
    std::vector<aio::task_handle<int>> handles;
    for (int i = 0; i < 3; ++i) handles.push_back(aio::create_task(child(i, i * 1s)));
    auto const [done, pending] = co_await aio::wait(handles, aio::first_completed);
    (void)co_await aio::wait(handles);
    if (done.size() + pending.size() != 3) throw std::logic_error("one is missing");
  });
  survives([]() -> aio::task<> {
    std::vector<aio::task_handle<int>> handles;
    for (int i = 0; i < 3; ++i) handles.push_back(aio::create_task(child(i, i * 1s)));
    int sum = 0;
    for (auto next : aio::as_completed(handles)) sum += co_await next;
    if (sum != 3) throw std::logic_error("wrong sum");
  });
  survives([]() -> aio::task<> {
    std::vector<aio::task_handle<int>> handles;
    for (int i = 0; i < 3; ++i) handles.push_back(aio::create_task(child(i, i * 1s)));
    int late = 0;
    for (auto next : aio::as_completed(handles, 1500ms)) {
      auto const ended = co_await aio::as_result(next);
      if (!ended.has_value() && tells_of_memory(ended.error())) ended.rethrow();
      late += ended.has_value() ? 0 : 1;
    }
    if (late != 1) throw std::logic_error("not one was late");
  });
}

TEST_CASE("out of memory: locks, queues, events and conditions") {
  survives([]() -> aio::task<> {
    aio::queue<std::string> queue(2);
    aio::priority_queue<int> priorities;
    aio::semaphore slots(1);
    aio::lock lock;
    auto const produce = [&]() -> aio::task<> {
      for (int i = 0; i < 5; ++i) {
        co_await queue.put(std::string(100, 'x'));
        auto const permit = co_await slots.acquire();
        co_await priorities.put(i);
        co_await aio::sleep_for(1s);
      }
    };
    auto const consume = [&]() -> aio::task<> {
      for (int i = 0; i < 5; ++i) {
        (void)co_await queue.get();
        auto const held = co_await lock.acquire();
        (void)co_await priorities.get();
      }
    };
    co_await aio::gather(produce(), consume());
  });
  survives([]() -> aio::task<> {
    aio::event event;
    aio::condition changed;
    aio::barrier both(2);
    bool ready = false;
    auto const waits = [&]() -> aio::task<> {
      co_await event.wait();
      {
        auto const held = co_await changed.acquire();
        co_await changed.wait_for([&] { return ready; });
      }
      co_await both.wait();
    };
    auto const tells = [&]() -> aio::task<> {
      co_await aio::sleep_for(1s);
      event.set();
      {
        auto const held = co_await changed.acquire();
        ready = true;
        changed.notify_all();
      }
      co_await both.wait();
    };
    co_await aio::gather(waits(), tells());
  });
}

TEST_CASE("out of memory: threads, callbacks, futures and context variables") {
  survives([]() -> aio::task<> {
    std::string const text = co_await aio::to_thread([](std::string given) { return given + given; },
                                                     std::string(100, 'x'));
    if (text.size() != 200) throw std::logic_error("wrong text");
  });
  survives([]() -> aio::task<> {
    auto& loop = aio::get_running_loop();
    aio::future<counted> promised;
    loop.call_later(1s, [promised]() mutable { promised.set_result(counted(1)); });
    promised.add_done_callback([](auto const&) {});
    counted const got = co_await promised;
    if (got.value() != 1) throw std::logic_error("wrong value");
  });
  survives([]() -> aio::task<> {
    static aio::context_var<std::string> who("nobody");
    who.set(std::string(100, 'x'));
    auto const asks = []() -> aio::task<std::string> { co_return who.get(); };
    auto const told = co_await aio::create_task(asks());
    if (told.size() != 100) throw std::logic_error("wrong name");
  });
}

TEST_CASE("out of memory: generators and clean-up") {
  survives([]() -> aio::task<> {
    auto const count = [](int to) -> aio::async_generator<counted> {
      counted const alive(0);
      for (int i = 0; i < to; ++i) {
        co_await child(i);
        co_yield counted(i);
      }
    };
    auto numbers = count(3);
    int sum = 0;
    while (auto* number = co_await numbers.next()) sum += number->value();
    if (sum != 3) throw std::logic_error("wrong sum");
  });
  survives([]() -> aio::task<> {
    bool begun = false;
    bool cleaned = false;
    auto const body = [&] {
      begun = true;
      return child(1, 1s);
    };
    auto const cleanup = [&] {
      cleaned = true;
      return std::suspend_never();
    };
    auto const ended = co_await aio::as_result(aio::with_finally(body, cleanup));
    if (begun != cleaned) throw std::logic_error("not cleaned up");
    if (!ended.has_value()) ended.rethrow();
  });
}

TEST_CASE("out of memory: cancellations with a message, and what they meet") {
  char const* const message = "a message that is too long to stand in the string itself";
  survives([&]() -> aio::task<> {
    auto sleeper = aio::create_task(child(1, 10s));
    auto waiter = aio::create_task([](auto handle) -> aio::task<int> { co_return co_await handle; }, sleeper);
    auto unstarted = aio::create_task(child(2, 10s));
    unstarted.cancel(message);
    co_await aio::sleep_for(1s);
    waiter.cancel(message);
    auto const ended = co_await aio::as_result(waiter);
    (void)co_await aio::as_result(unstarted);
    if (!ended.has_value() && !ended.cancelled()) ended.rethrow();
    if (!ended.cancelled() || !sleeper.done()) throw std::logic_error("not cancelled");
  });
  survives([&]() -> aio::task<> {
    aio::lock lock;
    aio::queue<int> queue;
    auto const held = co_await lock.acquire();
    auto const takes = [&]() -> aio::task<> { auto const permit = co_await lock.acquire(); };
    auto const gets = [&]() -> aio::task<int> { co_return co_await queue.get(); };
    auto const gathers = [&]() -> aio::task<> { (void)co_await aio::gather(takes(), gets(), child(1, 9s)); };
    auto const shields = [&]() -> aio::task<> { (void)co_await aio::shield(aio::create_task(child(1, 2s))); };
    auto const works = [&]() -> aio::task<> { co_await aio::to_thread([] {}); };
    co_await aio::with_task_group([&](aio::task_group& group) -> aio::task<> {  // they use what is above
      std::vector<aio::task_handle<>> handles;
      handles.push_back(group.create_task(gathers()));
      handles.push_back(group.create_task(shields()));
      handles.push_back(group.create_task(works()));
      co_await aio::sleep_for(1s);
      for (auto& each : handles) each.cancel(message);
      (void)co_await aio::wait(handles);
      for (auto const& each : handles) {
        if (!each.cancelled()) each.result();  // throws bad_alloc
      }
      if (!handles[0].cancelled() || !handles[1].cancelled()) throw std::logic_error("not cancelled");
    });
  });
}

TEST_CASE("out of memory: a loop with the real clock, and tasks from other threads") {
  auto const program = []() -> aio::task<> {
    auto& loop = aio::get_running_loop();
    (void)co_await aio::to_thread([&loop] {
      auto const child = []() -> aio::task<int> { co_return 1; };
      return aio::run_coroutine_threadsafe(child(), loop);
    });
    co_await aio::sleep_for(1ms);
  };
  auto const run = [&] {
    aio::run_options quiet;
    quiet.exception_handler([](aio::exception_context const&) {});
    aio::run(std::move(quiet), program);
  };
  run();
  long granted = 0;
  while (refuse_after(granted, false, run)) REQUIRE(++granted < 10'000);
}

TEST_CASE("out of memory: a scope of a context variable that cannot set it back is heard of, and goes all the same") {
  static aio::context_var<int> first;
  static aio::context_var<int> second;
  static aio::context_var<int> third;
  long reports = 0;
  auto const program = [&reports]() -> aio::task<> {
    aio::get_running_loop().set_exception_handler([&reports](aio::exception_context const&) { ++reports; });
    first.set(1);
    second.set(2);
    {
      auto const scope = first.set_scoped(3);
      third.set(4);
    }
    int const after = first.get();
    if (after != 1 && after != 3) throw std::logic_error("neither");
    aio::get_running_loop().set_exception_handler({});
    co_return;
  };
  auto const run = [&] { aio::testing::run(program); };
  run();
  CHECK(reports == 0);
  long granted = 0;
  while (refuse_after(granted, false, run)) REQUIRE(++granted < 10'000);
  CHECK(reports > 0);
}

TEST_CASE("out of memory: of children that begin at once none begins before all could be made") {
  static aio::context_var<int> copied;
  bool begun = false;
  auto const child = [](bool& to) -> aio::task<int> {
    to = true;
    co_return 1;
  };
  auto const program = [&]() -> aio::task<> {
    begun = false;
    copied.set(1);
    auto gathering = aio::gather(aio::eager, child(begun), child(begun), child(begun));
    std::exception_ptr failed;
    try {
      (void)co_await std::move(gathering);
    } catch (std::bad_alloc const&) {
      if (begun) throw std::logic_error("one had begun");
      failed = std::current_exception();
    }
    co_await aio::sleep_for(0s);
    if (failed && begun) throw std::logic_error("one began");
    if (aio::all_tasks().size() != 1) throw std::logic_error("one was left");
    if (failed) std::rethrow_exception(failed);
  };
  auto const run = [&] { aio::testing::run(program); };
  run();
  CHECK(begun);
  long granted = 0;
  while (refuse_after(granted, false, run)) REQUIRE(++granted < 10'000);
}
