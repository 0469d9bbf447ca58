// SPDX-License-Identifier: MIT

#include <aio/aio.hpp>
#include <aio/testing/virtual_clock.hpp>
#include <memory>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "support/catch.hpp"
#include "support/counted.hpp"
#include "support/order.hpp"
#include "support/reports.hpp"
#include "support/trace.hpp"

using namespace std::chrono_literals;
using aio_test::counted;
using aio_test::reports;
using aio_test::said;
using aio_test::trace;

namespace {

aio::async_generator<int> count(int limit) {
  for (int i = 0; i < limit; ++i) {
    if (i % 2 == 1) co_await aio::sleep_for(1s);
    co_yield i;
  }
}

/// Closes with a wait.
class connection {
 public:
  explicit connection(trace& log) : log_(&log) {}
  aio::task<> close(std::string how = "closed") {
    (*log_)("closing");
    co_await aio::sleep_for(1s);
    (*log_)(how);
  }

 private:
  trace* log_;
};

aio::async_generator<int> rows(trace& log, int limit) {
  connection& link = co_yield aio::on_exit(connection(log), [](connection& c) { return c.close(); });
  (void)link;
  for (int i = 0; i < limit; ++i) co_yield i;
  log("last");
}

template <class T>
aio::task<std::vector<T>> collect(aio::async_generator<T>& all) {
  std::vector<T> values;
  while (T* const value = co_await all.next()) values.push_back(std::move(*value));
  co_return values;
}

}  // namespace

TEST_CASE("async_generator: gives its values one by one, waits in between, and then null for ever") {
  aio::testing::run([]() -> aio::task<> {
    auto numbers = count(5);
    std::vector<int> const seen = co_await collect(numbers);
    CHECK(seen == std::vector<int>{0, 1, 2, 3, 4});
    CHECK(aio_test::now() == 2.0);
    int* const more = co_await numbers.next();
    CHECK(more == nullptr);
  });
}

TEST_CASE("async_generator: nothing of it runs before the first value is asked for") {
  aio::testing::run([]() -> aio::task<> {
    trace log;
    auto const generate = [&]() -> aio::async_generator<int> {
      log("begins");
      co_yield 1;
      log("goes on");
    };
    auto all = generate();
    log("made");
    int const* const first = co_await all.next();
    log("got " + std::to_string(*first));
    int const* const second = co_await all.next();
    log(second ? "more" : "end");
    CHECK(log.text() == "made | begins | got 1 | goes on | end");
  });
}

TEST_CASE("async_generator: values that are ready take no iteration of the loop") {
  CHECK(aio_test::traced([](aio_test::iteration_trace& log) -> aio::task<> {
          log.mark();
          auto const ready = []() -> aio::async_generator<int> {
            for (int i = 0; i < 1000; ++i) co_yield i;
          };
          auto all = ready();
          int sum = 0;
          while (int const* const value = co_await all.next()) sum += *value;
          log(std::to_string(sum));
        }) == "0:499500");
}

TEST_CASE("async_generator: yields lvalues, temporaries, what converts, and what can only be moved") {
  aio::testing::run([]() -> aio::task<> {
    auto const texts = []() -> aio::async_generator<std::string> {
      std::string const constant = "constant";
      std::string variable = "variable";
      co_yield "literal";
      co_yield constant;
      co_yield variable;
      co_yield std::string("temporary");
      CHECK(constant == "constant");
      CHECK(variable.empty());  // the consumer moved it out
    };
    auto all = texts();
    auto const seen = co_await collect(all);
    CHECK(seen == std::vector<std::string>{"literal", "constant", "variable", "temporary"});

    auto const pointers = []() -> aio::async_generator<std::unique_ptr<int>> {
      co_yield std::make_unique<int>(1);
      auto two = std::make_unique<int>(2);
      co_yield std::move(two);
    };
    auto both = pointers();
    auto const owned = co_await collect(both);
    CHECK(*owned.at(0) + *owned.at(1) == 3);
  });
}

TEST_CASE("async_generator: yields references") {
  aio::testing::run([]() -> aio::task<> {
    int number = 1;
    auto const itself = [](int& of) -> aio::async_generator<int&> { co_yield of; };
    auto all = itself(number);
    int* const given = co_await all.next();
    CHECK(given == &number);
  });
}

TEST_CASE("async_generator: every value and variable is destroyed, and once only") {
  {
    aio::testing::run([]() -> aio::task<> {
      auto const generate = []() -> aio::async_generator<counted> {
        counted const local(1);
        co_yield counted(2);
        co_yield local;
        counted third(3);
        co_yield third;
      };
      auto whole = generate();
      int sum = 0;
      while (counted const* const value = co_await whole.next()) sum += value->value();
      CHECK(sum == 6);
      auto dropped = generate();
      (void)co_await dropped.next();
      auto never_begun = generate();
      auto closed = generate();
      (void)co_await closed.next();
      co_await closed.aclose();
      CHECK(counted::living() == 2);  // of the one that stands at its first value
    });
  }
  CHECK(counted::living() == 0);
}

TEST_CASE("async_generator: an exception ends it, and comes out of next() once") {
  aio::testing::run([]() -> aio::task<> {
    auto const fails = []() -> aio::async_generator<int> {
      co_yield 1;
      co_await aio::sleep_for(1s);
      throw std::runtime_error("boom");
    };
    auto all = fails();
    (void)co_await all.next();
    auto const outcome = co_await aio::as_result(all.next());
    CHECK(said(outcome) == "std::runtime_error: boom");
    int const* const more = co_await all.next();
    CHECK(more == nullptr);
  });
}

TEST_CASE("async_generator: a cancellation is thrown where it waits, and ends it") {
  aio::testing::run([]() -> aio::task<> {
    trace log;
    auto const generate = [&]() -> aio::async_generator<int> {
      try {
        co_await aio::sleep_for(1h);
      } catch (aio::cancelled_error const&) {
        log("cancelled inside");
        throw;
      }
      co_yield 1;
    };
    auto const consumer = [&]() -> aio::task<> {
      auto all = generate();
      (void)co_await all.next();
    };
    auto const handle = aio::create_task(consumer);
    co_await aio::sleep_for(1s);
    handle.cancel();
    auto const outcome = co_await aio::as_result(handle);
    CHECK(outcome.cancelled());
    CHECK(log.text() == "cancelled inside");
  });
}

TEST_CASE("async_generator: one may ask another, to any depth") {
  aio::testing::run([]() -> aio::task<> {
    struct deep {
      static aio::async_generator<int> levels(int below) {
        if (below == 0) {
          co_yield 0;
          co_await aio::sleep_for(1s);
          co_yield 1;
        } else {
          auto inner = levels(below - 1);
          while (int const* const value = co_await inner.next()) co_yield *value + 1;
        }
      }
    };
    auto all = deep::levels(500);
    auto const seen = co_await collect(all);
    CHECK(seen == std::vector<int>{500, 501});
  });
}

TEST_CASE("async_generator: of sixty that ask each other the innermost goes first, and may look at what the outer have") {
  aio::testing::run([]() -> aio::task<> {
    struct leaves {
      leaves(std::vector<int>& to, int level) : log(to), which(level) {}
      leaves(leaves const&) = delete;
      ~leaves() { log.push_back(which); }
      std::vector<int>& log;
      int which;
    };
    struct deep {
      static aio::async_generator<int> levels(int below, std::vector<int>& log) {
        leaves const last(log, below);
        if (below > 0) {
          auto inner = levels(below - 1, log);
          while (int const* const value = co_await inner.next()) co_yield *value;
        }
        co_yield 0;
      }
    };
    std::vector<int> log;
    std::vector<int> expected;
    for (int i = 0; i <= 60; ++i) expected.push_back(i);
    {
      auto all = deep::levels(60, log);
      (void)co_await all.next();
    }
    CHECK(log == expected);
  });
}

TEST_CASE("async_generator: on_exit keeps an object, and awaits its clean-up after the last value") {
  aio::testing::run([]() -> aio::task<> {
    trace log;
    auto all = rows(log, 2);
    auto const seen = co_await collect(all);
    log("consumer goes on");
    CHECK(seen.size() == 2);
    CHECK(log.text() == "last | closing | closed | consumer goes on");
    CHECK(aio_test::now() == 1.0);
  });
}

TEST_CASE("async_generator: clean-up is awaited before an exception or a cancellation comes out") {
  aio::testing::run([]() -> aio::task<> {
    trace log;
    auto const fails = [&](bool wait) -> aio::async_generator<int> {
      co_yield aio::on_exit(connection(log), [](connection& c) { return c.close(); });
      if (wait) co_await aio::sleep_for(1h);
      throw std::runtime_error("boom");
      co_yield 1;
    };
    auto all = fails(false);
    auto const outcome = co_await aio::as_result(all.next());
    CHECK(said(outcome) == "std::runtime_error: boom");
    CHECK(log.text() == "closing | closed");
    log.clear();

    auto const consumer = [&]() -> aio::task<> {
      auto waiting = fails(true);
      (void)co_await waiting.next();
    };
    auto const handle = aio::create_task(consumer);
    co_await aio::sleep_for(1s);
    handle.cancel();
    auto const ended = co_await aio::as_result(handle);
    CHECK(ended.cancelled());
    CHECK(log.text() == "closing | closed");
  });
}

TEST_CASE("async_generator: several clean-ups run one after the other, the last registered first") {
  aio::testing::run([]() -> aio::task<> {
    trace log;
    auto const generate = [&]() -> aio::async_generator<int> {
      for (char const* const name : {"a", "b", "c"}) {
        co_yield aio::on_exit(connection(log), [name](connection& c) { return c.close(name); });
      }
      co_yield 1;
    };
    auto all = generate();
    (void)co_await collect(all);
    CHECK(log.text() == "closing | c | closing | b | closing | a");
  });
}

TEST_CASE("async_generator: an error of the clean-up wins, and the one it replaces is reported") {
  aio::testing::run([]() -> aio::task<> {
    reports const heard;
    auto const clean_up = [](char const* text) -> aio::task<> {
      co_await aio::sleep_for(1s);
      throw std::runtime_error(text);
    };
    auto const generate = [&]() -> aio::async_generator<int> {
      co_yield aio::on_exit([&] { return clean_up("outer"); });
      co_yield aio::on_exit([&] { return clean_up("inner"); });
      throw std::runtime_error("body");
    };
    auto all = generate();
    auto const outcome = co_await aio::as_result(all.next());
    CHECK(said(outcome) == "std::runtime_error: outer");
    CHECK(heard.text() ==
          "an error was replaced by one of its on_exit clean-up: std::runtime_error: inner"
          " | an error was replaced by one of its on_exit clean-up: std::runtime_error: body");
  });
}

TEST_CASE("async_generator: aclose() awaits the clean-up where the generator stands") {
  aio::testing::run([]() -> aio::task<> {
    trace log;
    auto all = rows(log, 5);
    (void)co_await all.next();
    co_await all.aclose();
    log("closed for good");
    co_await all.aclose();
    int const* const more = co_await all.next();
    CHECK(more == nullptr);
    CHECK(log.text() == "closing | closed | closed for good");
    auto never_begun = rows(log, 5);
    co_await never_begun.aclose();
    auto at_end = rows(log, 0);
    (void)co_await at_end.next();
    log.clear();
    co_await at_end.aclose();
    CHECK(log.text().empty());
  });
}

TEST_CASE("async_generator: aclose() throws what the clean-up throws") {
  aio::testing::run([]() -> aio::task<> {
    auto const generate = []() -> aio::async_generator<int> {
      co_yield aio::on_exit([]() -> aio::task<> {
        throw std::runtime_error("clean-up");
        co_return;
      });
      co_yield 1;
    };
    auto all = generate();
    (void)co_await all.next();
    auto const outcome = co_await aio::as_result(all.aclose());
    CHECK(said(outcome) == "std::runtime_error: clean-up");
  });
}

namespace {

/// Says when it goes.
struct told {
  told(trace& to, std::string what) : log(to), name(std::move(what)) {}
  told(told const&) = delete;
  ~told() { log(name + " goes"); }
  trace& log;
  std::string name;
};

aio::async_generator<int> with_clean_up(trace& log, std::unique_ptr<told>) {
  co_yield aio::on_exit([&log]() -> aio::task<> {
    co_await aio::sleep_for(0s);
    log("clean-up");
  });
  told const variable(log, "variable");
  co_yield 1;
}

}  // namespace

TEST_CASE("async_generator: variables go before the clean-up and arguments after it, however it ends") {
  trace to_the_end;
  trace closed;
  trace in_scope;
  aio::testing::run([&]() -> aio::task<> {
    {
      auto argument = std::make_unique<told>(to_the_end, "argument");
      auto numbers = with_clean_up(to_the_end, std::move(argument));
      while (co_await numbers.next()) {
      }
    }
    {
      auto argument = std::make_unique<told>(closed, "argument");
      auto numbers = with_clean_up(closed, std::move(argument));
      (void)co_await numbers.next();
      co_await numbers.aclose();
    }
    auto argument = std::make_unique<told>(in_scope, "argument");
    auto body = [](aio::async_generator<int>& numbers) -> aio::task<> { (void)co_await numbers.next(); };
    auto numbers = with_clean_up(in_scope, std::move(argument));
    co_await aio::with_closing(std::move(numbers), body);
  });
  CHECK(to_the_end.text() == "variable goes | clean-up | argument goes");
  CHECK(closed.text() == to_the_end.text());
  CHECK(in_scope.text() == to_the_end.text());
}

TEST_CASE("async_generator: aclose() passes handlers of the body, and says so of one that goes on") {
  aio::testing::run([]() -> aio::task<> {
    trace log;
    auto const numbers = [](trace& to, bool goes_on) -> aio::async_generator<int> {
      co_yield aio::on_exit([&to]() -> aio::task<> {
        to("clean-up");
        co_return;
      });
      try {
        co_yield 1;
      } catch (std::exception const&) {
        to("an error");
      } catch (...) {
        to("handler");
        if (!goes_on) throw;
      }
      co_yield 2;
    };
    auto well = numbers(log, false);
    (void)co_await well.next();
    co_await well.aclose();
    int* const none = co_await well.next();
    CHECK(none == nullptr);
    auto badly = numbers(log, true);
    (void)co_await badly.next();
    auto const said_badly = co_await aio::as_result(badly.aclose());
    log(said(said_badly));
    int* const after = co_await badly.next();
    CHECK(after == nullptr);
    auto fresh = numbers(log, false);
    co_await fresh.aclose();  // never began
    CHECK(log.text() ==
          "handler | clean-up | handler | clean-up | aio::usage_error: this async_generator went on when it was "
          "closed: what it catches with catch (...) it has to throw on");
  });
}

TEST_CASE("async_generator: with_closing closes on every way out, and gives what the body gives") {
  aio::testing::run([]() -> aio::task<> {
    trace log;
    auto const first = [](aio::async_generator<int>& all) -> aio::task<int> {
      int const* const value = co_await all.next();
      co_return *value + 10;
    };
    int const value = co_await aio::with_closing(rows(log, 3), first);
    CHECK(value == 10);
    CHECK(log.text() == "closing | closed");
    log.clear();
    auto const fails = [](aio::async_generator<int>& all) -> aio::task<> {
      (void)co_await all.next();
      throw std::runtime_error("boom");
    };
    auto const outcome = co_await aio::as_result(aio::with_closing(rows(log, 3), fails));
    CHECK(said(outcome) == "std::runtime_error: boom");
    CHECK(log.text() == "closing | closed");
  });
}

TEST_CASE("async_generator: clean-up that nobody awaited is reported") {
  aio::testing::run([]() -> aio::task<> {
    trace log;
    reports const heard;
    {
      auto all = rows(log, 3);
      (void)co_await all.next();
    }
    CHECK(heard.text() ==
          "the clean-up of a generator was not awaited: co_await its aclose(), or use with_closing");
    CHECK(log.text().empty());
  });
}

TEST_CASE("async_generator: two tasks cannot ask at a time, nor close it meanwhile") {
  aio::testing::run([]() -> aio::task<> {
    auto const waits = []() -> aio::async_generator<int> {
      co_await aio::sleep_for(1h);
      co_yield 1;
    };
    auto all = waits();
    auto const ask = [&]() -> aio::task<> { (void)co_await all.next(); };
    auto const first = aio::create_task(ask);
    co_await aio::sleep_for(1s);
    auto const second = co_await aio::as_result(all.next());
    CHECK(said(second) ==
          "aio::usage_error: next() or aclose() of this async_generator is awaited at the moment: "
          "one at a time");
    auto const closing = co_await aio::as_result(all.aclose());
    CHECK(said(closing) ==
          "aio::usage_error: next() of this async_generator is awaited at the moment: cancel that");
    first.cancel();
    auto const ended = co_await aio::as_result(first);
    CHECK(ended.cancelled());
  });
}

TEST_CASE("async_generator: may be moved, and says so where it was") {
  aio::testing::run([]() -> aio::task<> {
    auto from = count(3);
    (void)co_await from.next();
    auto to = std::move(from);
    int const* const value = co_await to.next();
    CHECK(*value == 1);
    CHECK(aio_test::thrown_by([&] { return (void)from.next(), 0; }) ==
          "aio::usage_error: this async_generator was moved away");
    to = count(1);
    auto const seen = co_await collect(to);
    CHECK(seen == std::vector<int>{0});
  });
}

TEST_CASE("async_generator: tasks see where a generator waits") {
  aio::testing::run([]() -> aio::task<> {
    auto const handle = aio::create_task([]() -> aio::task<> {
      auto all = count(2);
      (void)co_await collect(all);
    });
    co_await aio::sleep_for(500ms);
    std::ostringstream out;
    aio::print_tasks(out);
    CHECK(out.str().find("async_generator_test.cpp") != std::string::npos);
    co_await handle;
  });
}
