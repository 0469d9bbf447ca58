// SPDX-License-Identifier: MIT

// Four programs, each written twice: with what asyncio has, and with what aio has beyond. Both do the same, and lose
// nothing wherever they are cancelled.

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <ranges>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "aio/as_result.hpp"
#include "aio/event_loop.hpp"
#include "aio/exception_group.hpp"
#include "aio/sleep.hpp"
#include "aio/task.hpp"
#include "aio/task_handle.hpp"
#include "aio/testing/virtual_clock.hpp"
#include "support/cancel_everywhere.hpp"
#include "support/catch.hpp"
#include "support/counted.hpp"
#include "support/order.hpp"
#include "support/reports.hpp"
#include "support/trace.hpp"

// In the namespace of this file, where several are compiled at once: nobody else includes them.
#include "programs/fan_out.hpp"
#include "programs/fan_out_by_hand.hpp"
#include "programs/poller.hpp"
#include "programs/poller_by_hand.hpp"
#include "programs/pool.hpp"
#include "programs/pool_by_hand.hpp"
#include "programs/supervisor.hpp"
#include "programs/supervisor_by_hand.hpp"

using namespace std::chrono_literals;
using aio_test::cancel_everywhere;
using aio_test::cancellation;
using aio_test::counted;
using aio_test::hops;
using aio_test::said;
using aio_test::trace;

namespace {

/// What happens, with the time in milliseconds since it was made.
class times_trace {
 public:
  void operator()(std::string const& event) {
    auto const passed = std::chrono::round<std::chrono::milliseconds>(aio::get_running_loop().time() - begin_);
    log_(std::to_string(passed.count()) + ":" + event);
  }
  [[nodiscard]] std::string text() const { return log_.text(); }

 private:
  aio::time_point begin_ = aio::get_running_loop().time();
  trace log_;
};

/// Counts who is inside.
class inside {
 public:
  explicit inside(int& count, int* most = nullptr) : count_(count) {
    ++count_;
    if (most) *most = std::max(*most, count_);
  }
  inside(inside const&) = delete;
  ~inside() { --count_; }

 private:
  int& count_;
};

}  // namespace

// ---------------------------------------------------------------- supervisor

namespace {

using supervise_function = aio::task<> (*)(std::vector<programs::service>, programs::restart_policy,
                                           programs::say_function);
constexpr supervise_function both_supervisors[] = {programs::by_hand::supervise, programs::supervise};

/// One attempt of a service: after `prepares` it is ready, unless it failed, and runs on for `runs`.
struct attempt {
  std::chrono::milliseconds prepares;
  std::chrono::milliseconds runs;
  bool ready = true;
  bool fails = false;
};

/// A service that does one attempt after the other.
programs::service scripted(std::string name, std::vector<attempt> attempts, int& running) {
  auto const script = std::make_shared<std::vector<attempt>>(std::move(attempts));
  auto const next = std::make_shared<std::size_t>(0);
  auto const run = [name, script, next, &running](std::function<void()> ready) -> aio::task<> {
    return [](std::string called, attempt now, int& in, std::function<void()> is_up) -> aio::task<> {
      inside const counts(in);
      co_await aio::sleep_for(now.prepares);
      if (now.ready) is_up();
      co_await aio::sleep_for(now.runs);
      if (now.fails) throw std::runtime_error("no " + called);
    }(name, script->at((*next)++), running, std::move(ready));
  };
  return programs::service(std::move(name), run);
}

std::string supervised(supervise_function supervise, std::vector<programs::service> services) {
  std::string text;
  aio::testing::run([&]() -> aio::task<> {
    times_trace log;
    auto const say = [&](std::string what) { log(what); };
    auto const outcome =
        co_await aio::as_result(supervise(std::move(services), {.attempts = 3, .pause = 100ms}, say));
    log(outcome.has_value() ? "over" : said(outcome));
    CHECK(aio::all_tasks().size() == 1);
    text = log.text();
  });
  return text;
}

}  // namespace

TEST_CASE("programs: both supervisors start one after the other, restart what fails, and go on without it") {
  for (supervise_function const supervise : both_supervisors) {
    int running = 0;
    CHECK(supervised(supervise, {scripted("db", {{.prepares = 10ms, .runs = 2s}}, running),
                                 scripted("mail",
                                          {{.prepares = 5ms, .runs = 0ms, .ready = false, .fails = true},
                                           {.prepares = 20ms, .runs = 300ms, .fails = true},
                                           {.prepares = 20ms, .runs = 50ms, .fails = true}},
                                          running),
                                 scripted("web", {{.prepares = 30ms, .runs = 1s}}, running)}) ==
          "10:db up | 15:mail failed: no mail | 135:mail up | 165:web up | 165:all up | 435:mail failed: no mail | "
          "655:mail up | 705:mail given up: no mail | 1165:web ended | 2010:db ended | 2010:over");
    CHECK(running == 0);
  }
}

TEST_CASE("programs: both supervisors end all where a service is never ready, and throw its error once") {
  for (supervise_function const supervise : both_supervisors) {
    int running = 0;
    attempt const bad{.prepares = 5ms, .runs = 0ms, .ready = false, .fails = true};
    std::vector<programs::service> const three{scripted("db", {{.prepares = 10ms, .runs = 1h}}, running),
                                               scripted("mail", {bad, bad, bad}, running),
                                               scripted("web", {{.prepares = 30ms, .runs = 1h}}, running)};
    std::string const before = "10:db up | 15:mail failed: no mail | 120:mail failed: no mail | ";
    CHECK(supervised(supervise, three).starts_with(before + "325:aio::exception_group: "));
    CHECK(running == 0);
    CHECK(supervised(supervise, {scripted("db", {{.prepares = 10ms, .runs = 1h}}, running),
                                 scripted("mail", {{.prepares = 5ms, .runs = 0ms, .ready = false}}, running)})
              .starts_with("10:db up | 15:mail ended | 15:aio::exception_group: "));
    CHECK(running == 0);
  }
}

TEST_CASE("programs: wherever a supervisor is cancelled, every service has ended behind it") {
  for (supervise_function const supervise : both_supervisors) {
    int const moments = cancel_everywhere([=](cancellation& when) -> aio::task<> {
      int running = 0;
      int ups = 0;
      std::vector<programs::service> services{
          scripted("db", {{.prepares = 10ms, .runs = 2s}}, running),
          scripted("mail",
                   {{.prepares = 5ms, .runs = 0ms, .ready = false, .fails = true},
                    {.prepares = 20ms, .runs = 300ms, .fails = true},
                    {.prepares = 0ms, .runs = 0ms, .fails = true}},
                   running),
          scripted("web", {{.prepares = 0ms, .runs = 0ms}}, running)};
      auto const say = [&](std::string const& what) { ups += what.ends_with(" up") && what != "all up" ? 1 : 0; };
      co_await when.meet(supervise(std::move(services), {.attempts = 3, .pause = 100ms}, say));
      CHECK(running == 0);
      CHECK((when.came() || ups == 4));
    });
    CHECK(moments > 15);
  }
}

// ---------------------------------------------------------------- pool

namespace {

/// A server that counts its connections.
class backend {
 public:
  class one : public programs::connection {
   public:
    explicit one(backend& of) : of_(of), number_(++of.opened_) {
      ++of_.open_;
      of_.most_ = std::max(of_.most_, of_.open_);
    }
    ~one() override { --of_.open_; }
    [[nodiscard]] bool works() const noexcept override { return std::ranges::count(of_.broken, number_) == 0; }
    [[nodiscard]] int number() const noexcept { return number_; }

   private:
    backend& of_;
    int number_;
  };

  programs::open_function opener() {
    return [this]() -> aio::task<std::unique_ptr<programs::connection>> { return connect(); };
  }
  [[nodiscard]] int open() const noexcept { return open_; }
  [[nodiscard]] int most() const noexcept { return most_; }
  [[nodiscard]] int opened() const noexcept { return opened_; }

  std::vector<int> broken;
  int refuses = 0;  // so many times

 private:
  aio::task<std::unique_ptr<programs::connection>> connect() {
    co_await aio::sleep_for(10ms);
    if (refuses > 0) {
      --refuses;
      throw std::runtime_error("refused");
    }
    co_return std::make_unique<one>(*this);
  }

  int open_ = 0;
  int most_ = 0;
  int opened_ = 0;
};

template <class Lease>
int number_of(Lease const& lent) {
  return static_cast<backend::one const&>(*lent.operator->()).number();
}

template <class Pool>
aio::task<> borrow(times_trace& log, Pool& pool, std::string name, std::chrono::milliseconds length) {
  try {
    auto const lent = co_await pool.get();
    log(name + " has " + std::to_string(number_of(lent)));
    co_await aio::sleep_for(length);
  } catch (programs::pool_timeout const&) {
    log(name + " too late");
  } catch (typename Pool::closed const&) {
    log(name + " closed");
  } catch (std::runtime_error const& error) {
    log(name + " " + error.what());
  }
}

template <class Pool>
std::string pooled() {
  std::string text;
  backend server;
  aio::testing::run([&]() -> aio::task<> {
    times_trace log;
    Pool pool(server.opener(), 2, 100ms);
    std::vector<aio::task_handle<>> users;
    auto const use = [&](std::string name, std::chrono::milliseconds length) {
      users.push_back(aio::create_task(borrow(log, pool, std::move(name), length)));
    };
    use("a", 50ms);
    use("b", 200ms);
    use("c", 500ms);  // waits for a's
    use("d", 10ms);   // too late
    co_await aio::sleep_for(150ms);
    server.broken.push_back(2);  // b's, which is thrown away
    use("e", 10ms);
    co_await aio::sleep_for(200ms);
    server.broken.push_back(3);  // e's, which lies idle
    use("f", 10ms);
    co_await aio::sleep_for(50ms);
    server.refuses = 1;
    server.broken.push_back(4);
    use("g", 10ms);
    co_await aio::sleep_for(50ms);
    use("h", 200ms);
    use("i", 10ms);
    co_await aio::sleep_for(50ms);
    auto const closing = aio::create_task(pool.close());
    co_await hops(1);
    use("j", 10ms);
    co_await closing;
    log("closed");
    CHECK(server.open() == 0);
    for (auto const& user : users) CHECK(user.done());
    co_await pool.close();
    text = log.text();
  });
  CHECK(server.most() == 2);
  CHECK(server.open() == 0);
  return text;
}

/// Others that compete with who is cancelled.
template <class Pool>
void cancel_users(bool at_close) {
  int const moments = cancel_everywhere([=](cancellation& when) -> aio::task<> {
    backend server;
    times_trace log;
    Pool pool(server.opener(), 2, 100ms);
    std::vector<aio::task_handle<>> users;
    for (int i = 0; i < 3; ++i) users.push_back(aio::create_task(borrow(log, pool, "x", 30ms)));
    auto const subject = [&]() -> aio::task<> {
      if (at_close) {
        co_await aio::sleep_for(20ms);
        co_return co_await pool.close();
      }
      for (int i = 0; i < 3; ++i) {
        auto const lent = co_await pool.get();
        server.broken.push_back(number_of(lent));
        co_await hops(2);
      }
    };
    co_await when.meet(subject());
    for (auto const& user : users) co_await user;
    if (!at_close) {  // no turn is lost: two are had at once
      auto const first = co_await pool.get();
      auto const second = co_await pool.get();
      CHECK(number_of(first) != number_of(second));
      CHECK(server.open() == 2);
    }
    co_await pool.close();
    CHECK(server.open() == 0);
    CHECK(server.most() <= 2);
  });
  CHECK(moments > (at_close ? 5 : 15));
}

}  // namespace

TEST_CASE("programs: both pools lend so many at once, in turn, throw away what is broken, and close what is left") {
  std::string const expected =
      "10:a has 1 | 10:b has 2 | 60:c has 1 | 100:d too late | 220:e has 3 | 360:f has 4 | 410:g refused | "
      "460:h has 5 | 500:i closed | 500:j closed | 660:closed";
  CHECK(pooled<programs::by_hand::pool>() == expected);
  CHECK(pooled<programs::pool>() == expected);
}

TEST_CASE("programs: wherever a user of a pool is cancelled, what it had goes back, and nobody waits for ever") {
  cancel_users<programs::by_hand::pool>(false);
  cancel_users<programs::pool>(false);
}

TEST_CASE("programs: wherever the close of a pool is cancelled, another one ends it") {
  cancel_users<programs::by_hand::pool>(true);
  cancel_users<programs::pool>(true);
}

// ---------------------------------------------------------------- fan_out

namespace {

struct by_hand_fan {
  template <class... Args>
  static aio::task<> out(Args... args) {
    return programs::by_hand::fan_out(std::move(args)...);
  }
};
struct fan {
  template <class... Args>
  static aio::task<> out(Args... args) {
    return programs::fan_out(std::move(args)...);
  }
};

/// Items that count themselves, made where they are read.
auto source(int count, int& taken) {
  return std::views::iota(0, count) | std::views::transform([&taken](int number) {
           ++taken;
           return counted(number);
         });
}

aio::task<counted> after(std::chrono::milliseconds length, counted item) {
  co_await aio::sleep_for(length);
  co_return item;
}

template <class Fan>
std::string fanned() {
  std::string text;
  aio::testing::run([&]() -> aio::task<> {
    times_trace log;
    int taken = 0;
    auto const work = [](counted item) {
      auto const length = std::chrono::milliseconds(item.value() % 2 == 0 ? 30 : 10);
      return after(length, std::move(item));
    };
    auto const use = [&](counted item) -> aio::task<> {
      log(std::to_string(item.value()));
      co_return;
    };
    co_await Fan::out(source(7, taken), 2, work, use);
    log("over");
    text = log.text();
  });
  return text;
}

template <class Fan>
void fan_many(int count) {
  aio::testing::run([=]() -> aio::task<> {
    constexpr int workers = 10;
    int const before = counted::living();
    int taken = 0;
    int used = 0;
    int working = 0;
    int most = 0;
    int ahead = 0;
    int living = 0;
    std::int64_t sum = 0;
    auto const work = [&](counted item) -> aio::task<counted> {
      inside const counts(working, &most);
      co_await hops(1 + item.value() % 3);
      co_return item;
    };
    auto const use = [&](counted item) -> aio::task<> {
      ahead = std::max(ahead, taken - used);
      living = std::max(living, counted::living() - before);
      if (item.value() % 100 == 0) co_await aio::sleep_for(1ms);
      sum += item.value();
      ++used;
    };
    co_await Fan::out(source(count, taken), workers, work, use);
    CHECK(taken == count);
    CHECK(used == count);
    CHECK(sum == std::int64_t(count) * (count - 1) / 2);
    CHECK(most == workers);
    CHECK(ahead <= 4 * workers);  // and not with how many there are
    CHECK(living <= 8 * workers);
    CHECK(counted::living() == before);
  });
}

template <class Fan>
void cancel_fan() {
  int const before = counted::living();
  int const moments = cancel_everywhere([](cancellation& when) -> aio::task<> {
    int taken = 0;
    int working = 0;
    std::vector<int> used;
    auto const work = [&](counted item) -> aio::task<counted> {
      inside const counts(working);
      co_await aio::sleep_for(std::chrono::milliseconds(item.value() % 3));
      co_return item;
    };
    auto const use = [&](counted item) -> aio::task<> {
      used.push_back(item.value());
      co_await aio::sleep_for(2ms);
    };
    co_await when.meet(Fan::out(source(6, taken), 2, work, use));
    CHECK(working == 0);
    std::ranges::sort(used);
    CHECK(std::ranges::adjacent_find(used) == used.end());
    CHECK((when.came() || used.size() == 6));
  });
  CHECK(moments > 15);
  CHECK(counted::living() == before);
}

template <class Fan>
void fail_fan() {
  aio::testing::run([]() -> aio::task<> {
    int taken = 0;
    int working = 0;
    auto const work = [&](counted item) -> aio::task<counted> {
      inside const counts(working);
      co_await aio::sleep_for(1ms);
      if (item.value() == 5) throw std::runtime_error("five");
      co_return item;
    };
    auto const use = [](counted) -> aio::task<> { co_return; };
    auto const outcome = co_await aio::as_result(Fan::out(source(1'000'000, taken), 3, work, use));
    auto const* const errors = outcome.template error<aio::exception_group>();
    REQUIRE(errors);
    CHECK(errors->exceptions().size() == 1);
    CHECK(errors->template contains<std::runtime_error>());
    CHECK(working == 0);
    CHECK(taken < 20);
  });
}

}  // namespace

TEST_CASE("programs: both fans give results as they come, of a source that is read as there is room") {
  std::string const expected = "10:1 | 30:0 | 40:2 | 40:3 | 50:5 | 70:4 | 80:6 | 80:over";
  CHECK(fanned<by_hand_fan>() == expected);
  CHECK(fanned<fan>() == expected);
}

TEST_CASE("programs: in both fans as many items are there at once, of however many") {
  for (int const count : {100, 10'000}) {
    fan_many<by_hand_fan>(count);
    fan_many<fan>(count);
  }
}

TEST_CASE("programs: both fans end with the first error, and read no further") {
  fail_fan<by_hand_fan>();
  fail_fan<fan>();
}

TEST_CASE("programs: wherever a fan is cancelled, no worker is left, and no result was used twice") {
  cancel_fan<by_hand_fan>();
  cancel_fan<fan>();
}

// ---------------------------------------------------------------- poller

namespace {

/// What is polled: each call takes as long as its script says, and fails where that says so.
class polled {
 public:
  struct call {
    std::chrono::milliseconds takes;
    bool fails = false;
  };

  explicit polled(std::vector<call> script) : script_(std::move(script)) {}
  programs::fetch_function fetch(std::function<void(std::string)> log) {
    return [this, to = std::move(log)] { return run(to); };
  }
  [[nodiscard]] int running() const noexcept { return running_; }
  [[nodiscard]] int calls() const noexcept { return calls_; }

 private:
  aio::task<int> run(std::function<void(std::string)> log) {
    int const number = ++calls_;
    call const now = std::size_t(number) <= script_.size() ? script_[std::size_t(number) - 1] : call{.takes = 1ms};
    log("+" + std::to_string(number));
    inside const counts(running_);
    co_await aio::sleep_for(now.takes);
    if (now.fails) throw std::runtime_error("down");
    co_return number;
  }

  std::vector<call> script_;
  int running_ = 0;
  int calls_ = 0;
};

programs::poll_options const every_second{
    .period = 1s, .limit = 200ms, .attempts = 3, .pause = 100ms, .jitter = 0};

template <class Poller>
std::string polling(std::vector<polled::call> script, std::chrono::milliseconds length,
                    programs::poll_options how = every_second) {
  std::string text;
  aio::testing::run([&]() -> aio::task<> {
    times_trace log;
    polled what(std::move(script));
    auto const see = [&](aio::result<int> const& got) {
      log(got.has_value() ? "got " + std::to_string(got.value()) : said(got));
    };
    Poller poller(what.fetch(std::ref(log)), see, how);
    poller.start();
    co_await aio::sleep_for(length);
    co_await poller.stop();
    log("over");
    CHECK(what.running() == 0);
    CHECK(aio::all_tasks().size() == 1);
    text = log.text();
  });
  return text;
}

template <class Poller>
void cancel_poller(bool at_stop) {
  int const moments = cancel_everywhere([=](cancellation& when) -> aio::task<> {
    times_trace log;
    polled what({{.takes = 10ms, .fails = true}, {.takes = 1h}, {.takes = 10ms}});
    int seen = 0;
    auto const see = [&](aio::result<int> const& got) {
      CHECK(got.has_value());
      ++seen;
    };
    Poller poller(what.fetch(std::ref(log)), see, every_second);
    if (at_stop) {
      poller.start();
      co_await aio::sleep_for(500ms);
      bool over = false;
      auto const stop = [&]() -> aio::task<> {
        over = true;
        auto const outcome = co_await aio::as_result(poller.stop());
        CHECK(what.running() == 0);
        outcome.rethrow();
      };
      co_await when.meet(stop());
      if (!over) co_await poller.stop();
    } else {
      auto const subject = [&]() -> aio::task<> {
        poller.start();
        co_await aio::sleep_for(3500ms);
      };
      co_await when.meet(subject());
      co_await poller.stop();
      CHECK((when.came() || seen == 4));
    }
    CHECK(what.running() == 0);
    int const calls = what.calls();
    co_await aio::sleep_for(10s);
    CHECK(what.calls() == calls);
  });
  CHECK(moments > 2);
}

/// The step of the poller itself is cancelled, as by stop(), at each moment.
template <class Poller>
void stop_everywhere() {
  for (int moment = 0; moment < 40; ++moment) {
    aio::testing::run([=]() -> aio::task<> {
      times_trace log;
      polled what({{.takes = 10ms, .fails = true}, {.takes = 1h}, {.takes = 10ms}, {.takes = 0ms}});
      auto const see = [](aio::result<int> const& got) { CHECK(got.has_value()); };
      Poller poller(what.fetch(std::ref(log)), see, every_second);
      poller.start();
      for (int i = 0; i < moment; ++i) co_await aio::sleep_for(i % 4 == 0 ? 30ms : 0ms);
      co_await poller.stop();
      CHECK(what.running() == 0);
      CHECK(aio::all_tasks().size() == 1);
      co_await poller.stop();
    });
  }
}

}  // namespace

TEST_CASE("programs: both pollers stay in step, limit each attempt, try again, and show what became of it") {
  polled::call const fails{.takes = 5ms, .fails = true};
  std::vector<polled::call> const script{
      {.takes = 10ms}, {.takes = 20ms, .fails = true}, {.takes = 1h}, {.takes = 30ms}, fails, fails, fails};
  std::string const expected =
      "0:+1 | 10:got 1 | 1000:+2 | 1120:+3 | 1520:+4 | 1550:got 4 | 2000:+5 | 2105:+6 | 2310:+7 | "
      "2315:std::runtime_error: down | 3000:+8 | 3001:got 8 | 3500:over";
  CHECK(polling<programs::by_hand::poller>(script, 3500ms) == expected);
  CHECK(polling<programs::poller>(script, 3500ms) == expected);
}

TEST_CASE("programs: both pollers leave out what is missed, and end in the middle of an attempt") {
  auto slow = every_second;
  slow.limit = 1h;
  std::string const expected = "0:+1 | 2500:got 1 | 2500:+2 | 2510:got 2 | 3000:+3 | 3500:over";
  CHECK(polling<programs::by_hand::poller>({{.takes = 2500ms}, {.takes = 10ms}, {.takes = 1h}}, 3500ms, slow) ==
        expected);
  CHECK(polling<programs::poller>({{.takes = 2500ms}, {.takes = 10ms}, {.takes = 1h}}, 3500ms, slow) == expected);
}

TEST_CASE("programs: both pollers make pauses shorter by chance, and never longer") {
  auto const pauses = [](auto made_by) {
    using poller_type = typename decltype(made_by)::type;
    std::vector<std::chrono::milliseconds> all;
    aio::testing::run([&]() -> aio::task<> {
      std::vector<aio::time_point> began;
      auto const fetch = [&]() -> aio::task<int> {
        began.push_back(aio::get_running_loop().time());
        return []() -> aio::task<int> {
          throw std::runtime_error("down");
          co_return 0;
        }();
      };
      auto how = every_second;
      how.attempts = 2;
      how.jitter = 0.5;
      poller_type poller(fetch, [](aio::result<int> const&) {}, how);
      poller.start();
      co_await aio::sleep_for(49500ms);
      co_await poller.stop();
      CHECK(began.size() == 100);
      for (std::size_t i = 0; i + 1 < began.size(); i += 2) {
        all.push_back(std::chrono::round<std::chrono::milliseconds>(began[i + 1] - began[i]));
      }
    });
    return all;
  };
  auto const check = [](std::vector<std::chrono::milliseconds> const& all) {
    auto const [least, most] = std::ranges::minmax(all);
    CHECK(least >= 50ms);
    CHECK(most <= 100ms);
    CHECK(most - least > 10ms);  // one in 10^30 is otherwise
  };
  check(pauses(std::type_identity<programs::by_hand::poller>()));
  check(pauses(std::type_identity<programs::poller>()));
}

TEST_CASE("programs: wherever who has a poller is cancelled, no attempt runs behind its stop") {
  for (bool const at_stop : {false, true}) {
    cancel_poller<programs::by_hand::poller>(at_stop);
    cancel_poller<programs::poller>(at_stop);
  }
  stop_everywhere<programs::by_hand::poller>();
  stop_everywhere<programs::poller>();
}
