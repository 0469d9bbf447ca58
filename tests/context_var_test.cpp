// SPDX-License-Identifier: MIT

#include <aio/aio.hpp>
#include <aio/testing/virtual_clock.hpp>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "support/catch.hpp"
#include "support/reports.hpp"
#include "support/trace.hpp"

using namespace std::chrono_literals;
using aio_test::thrown_by;
using aio_test::trace;

namespace {

aio::context_var<std::string> user("nobody");
aio::context_var<int> number;

aio::task<std::string> ask() { co_return user.get(); }

aio::task<> rename(std::string name) {
  user.set(std::move(name));
  co_return;
}

}  // namespace

TEST_CASE("context_var: gives its default where it was not set, and says so where it has none") {
  aio::testing::run([]() -> aio::task<> {
    CHECK(user.get() == "nobody");
    CHECK(number.find() == nullptr);
    CHECK(number.get(7) == 7);
    CHECK(thrown_by([] { return number.get(); }) ==
          "aio::usage_error: this context_var has no value here, and no default: set() it first, "
          "or ask with find()");
    number.set(1);
    CHECK(number.get() == 1);
    CHECK(number.get(7) == 1);
    co_return;
  });
}

TEST_CASE("context_var: a task has a copy of its creator's values, taken when it is made") {
  aio::testing::run([]() -> aio::task<> {
    user.set("first");
    auto const early = aio::create_task(ask());
    user.set("second");
    auto const late = aio::create_task(ask());
    auto const changing = aio::create_task(rename("third"));
    co_await changing;
    std::string const a = co_await early;
    std::string const b = co_await late;
    CHECK(a == "first");
    CHECK(b == "second");
    CHECK(user.get() == "second");
  });
}

TEST_CASE("context_var: a coroutine that is awaited shares the values of its task") {
  aio::testing::run([]() -> aio::task<> {
    co_await rename("inner");
    CHECK(user.get() == "inner");
  });
}

TEST_CASE("context_var: a hundred tasks keep values of their own through their waits") {
  aio::testing::run([]() -> aio::task<> {
    int right = 0;
    auto const worker = [&](int id) -> aio::task<> {
      number.set(id);
      for (int round = 0; round < 3; ++round) {
        co_await aio::sleep_for(std::chrono::milliseconds(id % 7));
        if (number.get() != id + round) co_return;
        number.set(id + round + 1);
      }
      ++right;
    };
    co_await aio::with_task_group([&](aio::task_group& group) -> aio::task<> {
      for (int id = 0; id < 100; ++id) group.create_task(worker, id);
      co_return;
    });
    CHECK(right == 100);
    CHECK(number.find() == nullptr);
  });
}

TEST_CASE("context_var: the tasks that gather and race start see the values of the caller") {
  aio::testing::run([]() -> aio::task<> {
    user.set("caller");
    auto const [a, b] = co_await aio::gather(ask(), ask());
    auto const won = co_await aio::race(ask());
    CHECK(a == "caller");
    CHECK(b == "caller");
    CHECK(std::get<0>(won) == "caller");
  });
}

TEST_CASE("context_var: a callback sees the values of when it was registered, and keeps its own") {
  aio::testing::run([]() -> aio::task<> {
    trace log;
    auto& loop = aio::get_running_loop();
    aio::future<> done;
    user.set("a");
    loop.call_soon([&] {
      log("soon " + user.get());
      user.set("of the callback");
      log("then " + user.get());
    });
    loop.call_later(1s, [&] { log("later " + user.get()); });
    done.add_done_callback([&] { log("done " + user.get()); });
    loop.call_soon_threadsafe([&] { log("threadsafe " + user.get()); });
    user.set("b");
    done.set_result();
    co_await aio::sleep_for(2s);
    CHECK(user.get() == "b");
    CHECK(log.text() ==
          "soon a | then of the callback | done a | threadsafe a | later a");
  });
}

TEST_CASE("context_var: a task that a callback makes has the callback's values") {
  aio::testing::run([]() -> aio::task<> {
    std::optional<aio::task_handle<std::string>> made;
    user.set("registered");
    aio::get_running_loop().call_soon([&] {
      user.set("set in it");
      made = aio::create_task(ask());
    });
    user.set("later");
    co_await aio::sleep_for(1s);
    std::string const seen = co_await *made;
    CHECK(seen == "set in it");
  });
}

TEST_CASE("context_var: a function in a thread sees the caller's values, and what it sets goes with it") {
  aio::testing::run([]() -> aio::task<> {
    user.set("caller");
    std::string const seen = co_await aio::to_thread([] {
      std::string was = user.get();
      user.set("thread");
      return was + " " + user.get();
    });
    CHECK(seen == "caller thread");
    std::string const again = co_await aio::to_thread([] { return user.get(); });
    CHECK(again == "caller");
    CHECK(user.get() == "caller");
  });
}

TEST_CASE("context_var: each thread has its own values where no loop runs") {
  std::string before;
  std::string after;
  std::thread([&] {
    before = user.get();
    user.set("thread");
    aio::testing::run([&]() -> aio::task<> {
      after = user.get();  // run() takes a copy
      user.set("main");
      co_return;
    });
    after += " " + user.get();
  }).join();
  CHECK(before == "nobody");
  CHECK(after == "thread thread");
  CHECK(user.get() == "nobody");
}

TEST_CASE("context_var: a task from another thread has the values of that thread") {
  aio::testing::run([]() -> aio::task<> {
    user.set("main");
    aio::event_loop& loop = aio::get_running_loop();
    std::string const seen = co_await aio::to_thread([&] {
      user.set("thread");
      return aio::run_coroutine_threadsafe(ask(), loop).get();
    });
    CHECK(seen == "thread");
  });
}

TEST_CASE("context_var: a token gives the old value back") {
  aio::testing::run([]() -> aio::task<> {
    auto first = number.set(1);
    CHECK(first.old_value() == nullptr);
    auto second = number.set(2);
    REQUIRE(second.old_value() != nullptr);
    CHECK(*second.old_value() == 1);
    user.set("meanwhile");
    number.reset(second);
    CHECK(number.get() == 1);
    CHECK(user.get() == "meanwhile");
    number.reset(first);
    CHECK(number.find() == nullptr);
    co_return;
  });
}

TEST_CASE("context_var: a token is good once, for its variable, where it was made") {
  aio::testing::run([]() -> aio::task<> {
    auto token = number.set(1);
    aio::context_var<int> other;
    CHECK(thrown_by([&] { other.reset(token); return 0; }) ==
          "aio::usage_error: this token came from another context_var");
    auto const elsewhere = [&]() -> aio::task<std::string> {
      co_return thrown_by([&] { number.reset(token); return 0; });
    };
    std::string const said = co_await aio::create_task(elsewhere);
    CHECK(said ==
          "aio::usage_error: this token was made in another task or callback: reset() where set() was");
    number.reset(token);
    CHECK(thrown_by([&] { number.reset(token); return 0; }) ==
          "aio::usage_error: this token was used before: reset() once");
  });
}

TEST_CASE("context_var: a scope sets until its end, also across waits and exceptions") {
  aio::testing::run([]() -> aio::task<> {
    auto const inner = []() -> aio::task<std::string> {
      auto const in_scope = user.set_scoped("inner");
      co_await aio::sleep_for(1s);
      co_return user.get();
    };
    auto const outer = user.set_scoped("outer");
    std::string const seen = co_await inner();
    CHECK(seen == "inner");
    CHECK(user.get() == "outer");
    try {
      auto const in_scope = user.set_scoped("lost");
      throw std::runtime_error("boom");
    } catch (std::runtime_error const&) {
    }
    CHECK(user.get() == "outer");
  });
  CHECK(user.get() == "nobody");
}

TEST_CASE("context_var: two variables at one address are two variables") {
  aio::testing::run([]() -> aio::task<> {
    std::optional<aio::context_var<int>> first(std::in_place);
    first->set(1);
    first.emplace();
    CHECK(first->find() == nullptr);
    co_return;
  });
}

TEST_CASE("context_var: holds values that can only be moved") {
  aio::testing::run([]() -> aio::task<> {
    aio::context_var<std::unique_ptr<int>> pointer;
    pointer.set(std::make_unique<int>(3));
    CHECK(*pointer.get() == 3);
    co_return;
  });
}

TEST_CASE("context: run() shows its values, and keeps what is set in it") {
  aio::testing::run([]() -> aio::task<> {
    user.set("before");
    aio::context const copy = aio::copy_context();
    user.set("after");
    std::string const seen = copy.run([](std::string const& name) {
      std::string was = user.get();
      user.set(name);
      return was;
    },
                                      "changed");
    CHECK(seen == "before");
    CHECK(user.get() == "after");
    REQUIRE(copy.find(user) != nullptr);
    CHECK(*copy.find(user) == "changed");
    CHECK(copy.size() == 1);
    CHECK(copy.find(number) == nullptr);
    CHECK(aio::context().size() == 0);
    CHECK(aio::context().run([] { return user.get(); }) == "nobody");
    co_return;
  });
}

TEST_CASE("context: a task that is given one sees and changes it, as others do who hold it") {
  aio::testing::run([]() -> aio::task<> {
    aio::context const shared = aio::copy_context();
    auto const first = aio::create_task(aio::task_options().context(shared), rename("first"));
    co_await first;
    CHECK(*shared.find(user) == "first");
    CHECK(user.get() == "nobody");
    auto const second = aio::create_task(aio::task_options().context(shared), ask());
    std::string const seen = co_await second;
    CHECK(seen == "first");
    auto const by_loop =
        aio::get_running_loop().create_task(aio::task_options().context(shared), ask);
    std::string const seen_by_loop = co_await by_loop;
    CHECK(seen_by_loop == "first");
    co_await aio::with_task_group([&](aio::task_group& group) -> aio::task<> {
      group.create_task(aio::task_options().context(shared), rename("of a group"));
      co_return;
    });
    CHECK(*shared.find(user) == "of a group");
  });
}

TEST_CASE("context: get_context() is the task's own") {
  aio::testing::run([]() -> aio::task<> {
    user.set("creator");
    auto const child = aio::create_task(rename("child"));
    aio::context const its = child.get_context();
    CHECK(its == child.get_context());
    CHECK(*its.find(user) == "creator");
    co_await child;
    CHECK(*its.find(user) == "child");
  });
}

TEST_CASE("context: the runs of one runner share it, and the code around does not see it") {
  aio::runner runner(aio::run_options().signals(aio::on_signal::leave));
  runner.run(rename("first run"));
  CHECK(user.get() == "nobody");
  CHECK(runner.run(ask()) == "first run");
}

TEST_CASE("context_var: a scope and a token hold for their task, also when somebody looks at its context meanwhile") {
  aio::testing::run([]() -> aio::task<> {
    aio::context_var<int> visitor(0);
    bool reset = false;
    auto const request = [&]() -> aio::task<int> {
      {
        auto const scope = visitor.set_scoped(7);
        co_await aio::sleep_for(2s);
      }
      int const after = visitor.get();
      auto token = visitor.set(8);
      co_await aio::sleep_for(2s);
      visitor.reset(token);
      reset = true;
      co_return after + visitor.get();
    };
    auto const handle = aio::create_task(request);
    co_await aio::sleep_for(1s);
    (void)handle.get_context();
    co_await aio::sleep_for(2s);
    CHECK(handle.get_context().find(visitor));
    int const sum = co_await handle;
    CHECK(sum == 0);
    CHECK(reset);
  });
}

TEST_CASE("context: run() ends where it began, whoever looks at the context of the task meanwhile") {
  aio::testing::run([]() -> aio::task<> {
    aio::context_var<int> visitor(0);
    aio::task_handle<> self;
    auto const body = [&]() -> aio::task<> {
      auto token = visitor.set(1);
      aio::context other;
      other.run([&] {
        visitor.set(99);
        CHECK(*self.get_context().find(visitor) == 1);  // that of the task, not the one that it visits
        CHECK_THROWS_AS(visitor.reset(token), aio::usage_error);
        other.run([&] { CHECK(visitor.get() == 99); });
        // A task that begins inside has a copy, and does not see what the visitor sets.
        auto const eager = [&]() -> aio::task<> {
          CHECK(visitor.get() == 99);
          visitor.set(100);
          co_return;
        };
        (void)aio::create_task(aio::task_options().eager_start(), eager);
        CHECK(visitor.get() == 99);
      });
      CHECK(visitor.get() == 1);
      CHECK(*other.find(visitor) == 99);
      visitor.reset(token);
      CHECK(visitor.get() == 0);
      co_return;
    };
    self = aio::create_task(body);
    co_await self;
  });
}

TEST_CASE("context_var: any number of variables are set and taken back, in any order, and copies keep what they had") {
  constexpr int count = 20'000;  // were all copied each time, this would take minutes
  std::vector<std::unique_ptr<aio::context_var<int>>> variables;
  for (int i = 0; i < count; ++i) variables.push_back(std::make_unique<aio::context_var<int>>());
  aio::context{}.run([&] {
    std::vector<aio::context_var<int>::token> tokens;
    for (int i = 0; i < count; ++i) tokens.push_back(variables[std::size_t(i) * 7 % count]->set(i));
    aio::context const copy = aio::copy_context();
    int right = 0;
    for (int i = 0; i < count; ++i) right += variables[std::size_t(i) * 7 % count]->get() == i;
    CHECK(right == count);
    for (int i = 0; i < count; i += 2) variables[std::size_t(i) * 7 % count]->reset(tokens[std::size_t(i)]);
    int set = 0;
    for (auto const& each : variables) set += each->find() != nullptr;
    CHECK(set == count / 2);
    CHECK(aio::copy_context().size() == count / 2);
    for (int i = 1; i < count; i += 2) variables[std::size_t(i) * 7 % count]->set(-1);
    CHECK(copy.size() == count);
    right = 0;
    for (int i = 0; i < count; ++i) right += *copy.find(*variables[std::size_t(i) * 7 % count]) == i;
    CHECK(right == count);
  });
}
