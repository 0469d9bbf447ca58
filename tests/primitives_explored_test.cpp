// SPDX-License-Identifier: MIT

// Small programs of every primitive in all orders of their steps, with a cancellation of each of their tasks in every
// place. Where a program has too many orders for a test, some by chance: AIO_EXPLORE=200000 tries more, and prints a
// row of the table in docs/trust.md for each.

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "aio/aio.hpp"
#include "aio/testing/cancel_everywhere.hpp"
#include "aio/testing/explore.hpp"
#include "support/asked_for.hpp"
#include "support/catch.hpp"

using namespace std::chrono_literals;

namespace {

using body = std::function<aio::task<>()>;

/// Tasks, each of which is cancelled in its turn.
struct program {
  std::vector<body> tasks;
  body rescue;                   // what the others need when one was cancelled
  std::function<void()> at_end;  // what holds then
};

void require(bool holds, char const* what) {
  if (!holds) throw std::logic_error(what);
}

aio::task<> yield() { co_await aio::sleep_for(0s); }

aio::task<> run_cancelling(program const& of, std::size_t victim, aio::testing::cancellation& when) {
  std::vector<aio::task_handle<>> all;
  for (std::size_t i = 0; i < of.tasks.size(); ++i) {
    all.push_back(aio::create_task(of.tasks[i]()));
    all.back().set_name(std::string(1, char('a' + i)));
  }
  when.begin(all[victim]);
  auto const outcome = co_await aio::as_result(all[victim]);
  when.end();
  if (!outcome.has_value() && !(when.came() && outcome.cancelled())) outcome.rethrow();
  if (outcome.cancelled() && of.rescue) co_await of.rescue();
  for (std::size_t i = 0; i < all.size(); ++i) {
    if (i == victim) continue;
    auto const other = co_await aio::as_result(all[i]);
    require(!other.cancelled(), "somebody else was cancelled");
    other.value();
  }
  if (of.at_end) of.at_end();
}

/// Runs a program, made anew each time, with each of its tasks as the one that is cancelled.
void check(char const* name, std::function<program()> const& make) {
  auto const most = static_cast<long>(aio_test::asked_for("AIO_EXPLORE", 50));
  auto const options = aio::testing::explore_options().enumerate_up_to(most).seeds((std::min)(most, 1000L));
  std::size_t schedules = 0;
  std::size_t choices = 0;
  bool all = true;
  std::size_t const tasks = make().tasks.size();
  for (std::size_t victim = 0; victim < tasks; ++victim) {
    INFO(name << ", cancelled: " << char('a' + victim));
    auto const ran = aio::testing::explore(
        options, [&](aio::testing::cancellation& when) -> aio::task<> {
          program const made = make();
          co_await run_cancelling(made, victim, when);
        });
    schedules += ran.schedules;
    choices = (std::max)(choices, ran.most_choices);
    all = all && ran.all;
  }
  CHECK(schedules > tasks);
  if (most > 50) {
    std::printf("| %s | %zu | %zu%s | %zu |\n", name, tasks, schedules, all ? ", which are all" : "", choices);
  }
}

/// Who is inside of what at most so many may be, and in which order they came.
struct inside {
  struct waiter {
    int who;
    aio::any_task_handle task;
  };
  int now = 0;
  std::vector<waiter> waiting;

  void enter(int most) { require(++now <= most, "too many are inside"); }
  void leave() { --now; }
  void comes(int who) { waiting.push_back({who, aio::current_task()}); }
  void goes(int who) {
    auto const is_it = [who](waiter const& each) { return each.who == who; };
    auto const at = std::find_if(waiting.begin(), waiting.end(), is_it);
    require(at != waiting.end(), "somebody went who was not there");
    waiting.erase(at);
  }
  /// Who was cancelled is overtaken, before it knows of it.
  void has_turn(int who) {
    for (auto const& each : waiting) {
      if (each.who == who) return goes(who);
      require(each.task.cancelling() > 0, "somebody was overtaken");
    }
  }
};

/// Which items came, each once.
struct items {
  std::vector<int> put;  // wholly
  std::vector<int> got;

  void check() const {
    for (int const each : got) require(std::count(got.begin(), got.end(), each) == 1, "an item came twice");
    for (int const each : put) require(std::count(got.begin(), got.end(), each) == 1, "an item was lost");
    require(got.size() == put.size(), "an item came that nobody put");
  }
};

// Each of the tasks below is a coroutine that shares the state of its program.

struct locked {
  aio::lock lock;
  inside state;
};
aio::task<> use(std::shared_ptr<locked> s, int who) {
  s->state.comes(who);
  auto held = co_await aio::as_result(s->lock.acquire());
  if (!held.has_value()) s->state.goes(who);
  auto const guard = std::move(held).value();
  s->state.has_turn(who);
  s->state.enter(1);
  auto const after = co_await aio::as_result(aio::sleep_for(0s));
  s->state.leave();
  after.value();
}

struct permits {
  explicit permits(int count) : semaphore(count) {}
  aio::semaphore semaphore;
  inside state;
};
aio::task<> use(std::shared_ptr<permits> s, int most) {
  for (int i = 0; i < 2; ++i) {
    auto const permit = co_await s->semaphore.acquire();
    s->state.enter(most);
    auto const after = co_await aio::as_result(aio::sleep_for(0s));
    s->state.leave();
    after.value();
  }
}

struct signalled {
  aio::event event;
  std::vector<bool> waits = {false, false};
  std::vector<bool> went = {false, false};
  aio::event over;
};
aio::task<> waits(std::shared_ptr<signalled> s, std::size_t who) {
  s->waits[who] = true;
  auto const outcome = co_await aio::as_result(s->event.wait());
  s->waits[who] = false;
  s->went[who] = true;
  outcome.value();
}
// Whoever waited when it was set goes on, though it is not set any more.
aio::task<> pulses(std::shared_ptr<signalled> s) {
  co_await yield();
  auto const waited = s->waits;
  s->event.set();
  s->event.clear();
  while ((waited[0] && !s->went[0]) || (waited[1] && !s->went[1])) co_await aio::sleep_for(1s);
  s->event.set();
}

struct jobs {
  aio::condition changed;
  int made = 0;
  int done = 0;
  int waiting = 0;
  bool closed = false;
};
aio::task<> take_job(std::shared_ptr<jobs> s) {
  auto const guard = co_await s->changed.acquire();
  ++s->waiting;
  auto const outcome =
      co_await aio::as_result(s->changed.wait_for([s = s.get()] { return s->made > s->done || s->closed; }));
  --s->waiting;
  require(s->changed.locked(), "the lock was lost");
  outcome.value();
  if (!s->closed) ++s->done;
}
aio::task<> close_jobs(std::shared_ptr<jobs> s) {
  auto const guard = co_await s->changed.acquire();
  require(s->made == s->done || s->waiting == 0, "a notification was lost");
  s->closed = true;
  s->changed.notify_all();
}
// One that was cancelled passes its notification on, before time passes.
aio::task<> make_job(std::shared_ptr<jobs> s) {
  {
    auto const guard = co_await s->changed.acquire();
    ++s->made;
    s->changed.notify();
    co_await yield();
  }
  co_await aio::sleep_for(1s);
  co_await close_jobs(s);
}

template <class Queue>
struct passed {
  template <class... Room>
  explicit passed(Room... room) : queue(room...) {}
  Queue queue;
  items all;
  int putters = 0;
};
/// An argument of who puts: the last of them shuts the queue down, also one that never began.
template <class Queue>
class putter {
 public:
  explicit putter(std::shared_ptr<passed<Queue>> to) : to_(std::move(to)) { ++to_->putters; }
  putter(putter&&) noexcept = default;
  ~putter() {
    if (to_ && --to_->putters == 0) to_->queue.shutdown();
  }
  passed<Queue>* operator->() const { return to_.get(); }

 private:
  std::shared_ptr<passed<Queue>> to_;
};
template <class Queue>
aio::task<> put_items(putter<Queue> to, int first, int count) {
  for (int i = first; i < first + count; ++i) {
    auto const outcome = co_await aio::as_result(to->queue.put(i));
    if (outcome.has_value()) to->all.put.push_back(i);
    outcome.value();
  }
}
template <class Queue>
aio::task<> get_items(std::shared_ptr<passed<Queue>> s) {
  while (auto const item = co_await s->queue.next()) s->all.got.push_back(*item);
}
template <class Queue, class... Room>
program queue_program(int putters, int getters, Room... room) {
  auto s = std::make_shared<passed<Queue>>(room...);
  program made;
  for (int i = 0; i < putters; ++i) {
    auto one = std::make_shared<putter<Queue>>(s);  // std::function has to be copied
    made.tasks.emplace_back([one, i] { return put_items(std::move(*one), 10 * i, 2); });
  }
  for (int i = 0; i < getters; ++i) made.tasks.emplace_back([s] { return get_items(s); });
  made.rescue = [s] { return get_items(s); };  // whoever comes next gets the others
  made.at_end = [s] { s->all.check(); };
  return made;
}

struct met {
  aio::barrier barrier{2};
  std::vector<int> came = {0, 0};
};
aio::task<> meets(std::shared_ptr<met> s) {
  for (std::size_t round = 0; round < 2; ++round) {
    ++s->came[round];
    auto const number = co_await s->barrier.wait();
    require(number < 2, "there are two");
    require(s->came[round] == 2, "one passed alone");
  }
}

struct family {
  int children = 0;
  int cleaned = 0;
  bool failed = false;
};
aio::task<> child(std::shared_ptr<family> s, int steps, bool fails) {
  ++s->children;
  struct at_end {
    ~at_end() { --of->children; }
    family* of;
  } const here{s.get()};
  for (int i = 0; i < steps; ++i) {
    auto const outcome = co_await aio::as_result(aio::sleep_for(0s));
    if (outcome.cancelled()) {
      (void)co_await aio::as_result(aio::sleep_for(0s));  // takes its time to clean up
      ++s->cleaned;
    }
    outcome.value();
  }
  if (fails) {
    s->failed = true;
    throw std::runtime_error("a child");
  }
}
/// What a parent checks when its children are over.
void require_over(family const& s, aio::result<void> const& outcome) {
  require(s.children == 0, "the parent went on before its children had ended");
  unsigned const cancelling = aio::current_task().cancelling();
  require(cancelling == (outcome.cancelled() ? 1U : cancelling) && cancelling <= 1, "the requests do not balance");
  if (!outcome.has_value() && !outcome.cancelled()) require(s.failed, "an error that no child had");
  if (outcome.cancelled()) outcome.rethrow();
}
aio::task<> grouped(std::shared_ptr<family> s) {
  auto const start = [s](aio::task_group& group) -> aio::task<> {
    group.create_task(child(s, 2, false));
    group.create_task(child(s, 1, true));
    co_await yield();
  };
  auto const outcome = co_await aio::as_result(aio::with_task_group(start));
  require_over(*s, outcome);
}

// Who has something keeps it until all others have done what they can.

struct limited {
  explicit limited(int total) : limiter(total) {}
  aio::limiter limiter;
  int inside = 0;
  int large_waits = 0;
};
aio::task<> use(std::shared_ptr<limited> s, int want, int most) {
  if (want > 1) ++s->large_waits;
  auto acquired = co_await aio::as_result(s->limiter.acquire(want));
  if (want > 1) --s->large_waits;
  auto const permit = std::move(acquired).value();
  require((s->inside += want) <= most, "too many are inside");
  auto const after = co_await aio::as_result(aio::sleep_for(1s));
  bool const waits_for_nothing =
      s->limiter.waiting() > 0 && s->large_waits == 0 && s->limiter.borrowed() < std::size_t(most);
  s->inside -= want;
  after.value();
  require(!waits_for_nothing, "who could go on waits");
}

struct table {
  aio::shared_lock lock;
  int readers = 0;
  int writers = 0;
  int writer_waits = 0;
  std::optional<aio::any_task_handle> reader_waits;
};
aio::task<> reads(std::shared_ptr<table> s) {
  s->reader_waits = aio::current_task();  // of two, the last that began to
  auto acquired = co_await aio::as_result(s->lock.acquire_shared());
  if (s->reader_waits == aio::current_task()) s->reader_waits.reset();
  auto const guard = std::move(acquired).value();
  ++s->readers;
  require(s->writers == 0, "somebody writes");
  auto const after = co_await aio::as_result(aio::sleep_for(1s));
  --s->readers;
  after.value();
  bool const one_waits = s->reader_waits && s->reader_waits->cancelling() == 0;
  require(!one_waits || s->writer_waits > 0 || s->lock.readers() > 1, "who could go on waits");
}
aio::task<> writes(std::shared_ptr<table> s) {
  ++s->writer_waits;
  auto acquired = co_await aio::as_result(s->lock.acquire());
  --s->writer_waits;
  auto const guard = std::move(acquired).value();
  require(++s->writers == 1 && s->readers == 0, "somebody is in it");
  auto const after = co_await aio::as_result(aio::sleep_for(0s));
  --s->writers;
  after.value();
}

struct news {
  aio::broadcast<int> all;
  std::vector<aio::broadcast<int>::subscription> readers;
  std::vector<std::vector<int>> got = {{}, {}};
  std::vector<bool> listening = {false, false};
  int sent = 0;
};
/// An argument of who sends: it ends the broadcast, also if it never began.
class sender {
 public:
  explicit sender(std::shared_ptr<news> to) : to_(std::move(to)) {}
  sender(sender&&) noexcept = default;
  ~sender() {
    if (to_) to_->all.shutdown();
  }
  news* operator->() const { return to_.get(); }

 private:
  std::shared_ptr<news> to_;
};
aio::task<> sends(sender to) {
  for (int i = 1; i <= 3; ++i) {
    co_await to->all.put(i);
    to->sent = i;
  }
}
aio::task<> listens(std::shared_ptr<news> s, std::size_t who) {
  s->listening[who] = true;
  for (;;) {
    auto item = co_await aio::as_result(s->readers[who].next());
    if (!item.has_value()) s->listening[who] = false;
    if (!item.value()) break;
    s->got[who].push_back(*item.value());
  }
}

struct watched {
  aio::observable<int> value{0};
  int seen = 0;
  int told = 0;
};
aio::task<> changes(std::shared_ptr<watched> s) {
  for (int i = 1; i <= 3; ++i) {
    s->value = i;
    co_await yield();
  }
}
aio::task<> watches(std::shared_ptr<watched> s) {
  auto changes = s->value.subscribe();
  s->seen = s->value.value();
  while (s->seen < 3) {
    co_await changes.changed();
    require(s->value.value() > s->seen, "it was told of nothing");
    s->seen = s->value.value();
  }
}
aio::task<> waits_until(std::shared_ptr<watched> s) {
  s->told = co_await s->value.until([](int n) { return n >= 2; });
  require(s->told >= 2, "it was told too early");
}

}  // namespace

TEST_CASE("explored: a lock is held by one, and goes to who has waited longest") {
  check("lock", [] {
    auto s = std::make_shared<locked>();
    program made;
    for (int i = 0; i < 3; ++i) made.tasks.emplace_back([s, i] { return use(s, i); });
    made.at_end = [s] { require(!s->lock.locked(), "it is still locked"); };
    return made;
  });
}

TEST_CASE("explored: a semaphore has its permits in the end, and never gave more") {
  for (int const count : {1, 2}) {
    check(count == 1 ? "semaphore of 1" : "semaphore of 2", [count] {
      auto s = std::make_shared<permits>(count);
      program made;
      for (int i = 0; i < 3; ++i) made.tasks.emplace_back([s, count] { return use(s, count); });
      made.at_end = [s, count] { require(s->semaphore.value() == std::size_t(count), "permits are missing"); };
      return made;
    });
  }
}

TEST_CASE("explored: an event wakes all who wait when it is set") {
  check("event", [] {
    auto s = std::make_shared<signalled>();
    program made;
    for (std::size_t i = 0; i < 2; ++i) made.tasks.emplace_back([s, i] { return waits(s, i); });
    made.tasks.emplace_back([s] { return pulses(s); });
    made.rescue = [s]() -> aio::task<> {
      for (std::size_t i = 0; i < 2; ++i) s->went[i] = s->went[i] || !s->waits[i];
      if (!s->event.is_set()) co_await aio::sleep_for(5s);
      s->event.set();
    };
    return made;
  });
}

TEST_CASE("explored: a condition loses no notification to a cancellation, and has its lock") {
  check("condition", [] {
    auto s = std::make_shared<jobs>();
    program made;
    for (int i = 0; i < 2; ++i) made.tasks.emplace_back([s] { return take_job(s); });
    made.tasks.emplace_back([s] { return make_job(s); });
    made.rescue = [s]() -> aio::task<> {
      co_await aio::sleep_for(2s);
      co_await close_jobs(s);
    };
    made.at_end = [s] { require(!s->changed.locked(), "it is still locked"); };
    return made;
  });
}

TEST_CASE("explored: a queue loses and doubles no item") {
  check("queue of 1, one puts", [] { return queue_program<aio::queue<int>>(1, 2, std::size_t(1)); });
  check("queue of 1, two put", [] { return queue_program<aio::queue<int>>(2, 1, std::size_t(1)); });
  check("priority_queue of 1", [] { return queue_program<aio::priority_queue<int>>(2, 1, std::size_t(1)); });
  check("rendezvous, one puts", [] { return queue_program<aio::rendezvous<int>>(1, 2); });
  check("rendezvous, two put", [] { return queue_program<aio::rendezvous<int>>(2, 1); });
}

TEST_CASE("explored: a barrier lets nobody pass alone") {
  check("barrier", [] {
    auto s = std::make_shared<met>();
    program made;
    for (int i = 0; i < 2; ++i) made.tasks.emplace_back([s] { return meets(s); });
    made.rescue = [s]() -> aio::task<> {  // comes in its place
      for (;;) {
        co_await aio::testing::all_blocked();
        if (s->barrier.n_waiting() == 0) break;
        for (int& each : s->came) each = 2;
        (void)co_await s->barrier.wait();
      }
    };
    made.at_end = [s] { require(s->barrier.n_waiting() == 0, "somebody is counted who is gone"); };
    return made;
  });
}

TEST_CASE("explored: a task_group is over when its children are") {
  check("task_group", [] {
    auto s = std::make_shared<family>();
    program made;
    made.tasks.emplace_back([s] { return grouped(s); });
    return made;
  });
}

TEST_CASE("explored: gather and race wait for their children, and give what these gave") {
  check("gather", [] {
    auto s = std::make_shared<family>();
    program made;
    made.tasks.emplace_back([s]() -> aio::task<> {
      // Of an error that was there when the cancellation came.
      aio::get_running_loop().set_exception_handler([](aio::exception_context const& context) {
        if (context.message.find("gave way to a cancellation") == std::string::npos) std::abort();
      });
      auto const each = [s](int n) -> aio::task<int> {
        co_await child(s, n, n == 3);
        co_return n;
      };
      auto both = [&each]() -> aio::task<> {
        auto const [one, two] = co_await aio::gather(each(1), each(2));
        require(one == 1 && two == 2, "the values are not in order");
        (void)co_await aio::gather(each(1), each(3));
      };
      auto const outcome = co_await aio::as_result(both());
      require_over(*s, outcome);
    });
    return made;
  });
  check("race", [] {
    auto s = std::make_shared<family>();
    program made;
    made.tasks.emplace_back([s]() -> aio::task<> {
      auto const outcome = co_await aio::as_result(aio::race(child(s, 1, false), child(s, 2, false)));
      require(s->children == 0, "it went on before its children had ended");
      if (!outcome.has_value()) outcome.rethrow();
    });
    return made;
  });
}

TEST_CASE("explored: race with keep_all, select, and a timeout lose no item of a queue") {
  struct two_queues {
    aio::queue<int> left;
    aio::queue<int> right;
    std::size_t put = 0;
    std::size_t got = 0;
  };
  auto const puts = [](std::shared_ptr<two_queues> s) -> aio::task<> {
    s->left.put_nowait(1);
    ++s->put;
    co_await aio::sleep_for(1s);
    s->right.put_nowait(2);
    ++s->put;
  };
  auto const with = [&puts](std::function<aio::task<>(std::shared_ptr<two_queues>)> const& gets) {
    auto s = std::make_shared<two_queues>();
    program made;
    made.tasks.emplace_back([s, gets] { return gets(s); });
    made.tasks.emplace_back([s, &puts] { return puts(s); });
    made.rescue = [s]() -> aio::task<> {
      co_await aio::testing::all_blocked();
      for (; s->put < 2; ++s->put) s->left.put_nowait(3);
    };
    made.at_end = [s] {
      std::size_t const left = s->left.qsize() + s->right.qsize();
      require(s->got + left == s->put, "an item was lost");
    };
    return made;
  };
  check("race(keep_all)", [&] {
    return with([](std::shared_ptr<two_queues> s) -> aio::task<> {
      auto const [one, two] = co_await aio::race(aio::keep_all, s->left.get(), s->right.get());
      s->got += (one ? 1U : 0U) + (two ? 1U : 0U);
    });
  });
  check("select", [&] {
    return with([](std::shared_ptr<two_queues> s) -> aio::task<> {
      for (int i = 0; i < 2; ++i) {
        (void)co_await aio::select(s->left.get(), s->right.get());
        ++s->got;
      }
    });
  });
  check("wait_for", [&] {
    return with([](std::shared_ptr<two_queues> s) -> aio::task<> {
      auto const late = co_await aio::as_result(aio::wait_for(s->right.get(), 1s));
      if (late.has_value()) ++s->got;
      if (late.cancelled()) late.rethrow();
      co_await yield();  // a cancellation that came in the same moment is thrown
      require(aio::current_task().cancelling() == 0, "the requests do not balance");
    });
  });
}

TEST_CASE("explored: what is shielded goes on when who waits is cancelled") {
  struct saved {
    int steps = 0;
    std::optional<aio::task_handle<>> saving;
  };
  check("shield", [] {
    auto s = std::make_shared<saved>();
    program made;
    made.tasks.emplace_back([s]() -> aio::task<> {
      auto const save = [](std::shared_ptr<saved> to) -> aio::task<> {
        for (; to->steps < 2; ++to->steps) co_await aio::sleep_for(0s);
      };
      s->saving = aio::create_task(save(s));
      co_await aio::shield(*s->saving);
      require(s->steps == 2, "it did not wait");
    });
    made.tasks.emplace_back([] { return yield(); });
    made.rescue = [s]() -> aio::task<> {
      if (s->saving) co_await *s->saving;
    };
    made.at_end = [s] { require(!s->saving || s->steps == 2, "it was cancelled"); };
    return made;
  });
}

TEST_CASE("explored: a shared_lock lets readers or one writer in") {
  check("shared_lock", [] {
    auto s = std::make_shared<table>();
    program made;
    made.tasks.emplace_back([s] { return reads(s); });
    made.tasks.emplace_back([s] { return writes(s); });
    made.tasks.emplace_back([s] { return reads(s); });
    made.tasks.emplace_back([s] { return writes(s); });
    made.at_end = [s] { require(!s->lock.locked() && s->lock.readers() == 0, "somebody is in it still"); };
    return made;
  });
}

TEST_CASE("explored: a limiter has its permits in the end, and never gave more") {
  check("limiter", [] {
    auto s = std::make_shared<limited>(2);
    program made;
    made.tasks.emplace_back([s] { return use(s, 1, 2); });
    made.tasks.emplace_back([s] { return use(s, 2, 2); });
    made.tasks.emplace_back([s] { return use(s, 1, 2); });
    made.at_end = [s] { require(s->limiter.borrowed() == 0 && s->limiter.waiting() == 0, "permits are missing"); };
    return made;
  });
}

TEST_CASE("explored: a broadcast gives everybody every message in order") {
  check("broadcast", [] {
    auto s = std::make_shared<news>();
    for (int i = 0; i < 2; ++i) s->readers.push_back(s->all.subscribe(aio::slow_reader::wait, 1));
    program made;
    auto const one = std::make_shared<sender>(s);
    made.tasks.emplace_back([one] { return sends(std::move(*one)); });
    for (std::size_t i = 0; i < 2; ++i) made.tasks.emplace_back([s, i] { return listens(s, i); });
    made.rescue = [s]() -> aio::task<> {
      co_await aio::testing::all_blocked();
      for (std::size_t i = 0; i < 2; ++i) {
        if (!s->listening[i]) co_await listens(s, i);
      }
    };
    made.at_end = [s] {
      for (auto const& got : s->got) {
        for (std::size_t i = 0; i < got.size(); ++i) require(got[i] == int(i) + 1, "one is missing");
        require(got.size() == std::size_t(s->sent), "a message was lost, or came of a put() that was cancelled");
      }
    };
    return made;
  });
}

TEST_CASE("explored: an observable tells of the newest value") {
  check("observable", [] {
    auto s = std::make_shared<watched>();
    program made;
    made.tasks.emplace_back([s] { return changes(s); });
    made.tasks.emplace_back([s] { return watches(s); });
    made.tasks.emplace_back([s] { return waits_until(s); });
    made.rescue = [s]() -> aio::task<> {
      if (s->value.value() < 3) s->value = 3;
      co_return;
    };
    return made;
  });
}

TEST_CASE("explored: a task_set gives each of its tasks once") {
  struct results {
    aio::task_set<int> set;
    int sum = 0;
    int count = 0;
  };
  check("task_set", [] {
    auto s = std::make_shared<results>();
    program made;
    made.tasks.emplace_back([s]() -> aio::task<> {
      auto const gives = [](int n) -> aio::task<int> {
        for (int i = 0; i < n; ++i) co_await aio::sleep_for(0s);
        co_return n;
      };
      s->set.create_task(gives(1));
      s->set.create_task(gives(2));
      while (auto const next = co_await s->set.next()) {
        s->sum += next->result();
        ++s->count;
      }
    });
    made.rescue = [s]() -> aio::task<> {
      while (auto const next = co_await s->set.next()) {
        s->sum += next->result();
        ++s->count;
      }
    };
    made.at_end = [s] { require((s->count == 2 && s->sum == 3) || s->count == 0, "one is missing"); };
    return made;
  });
}

TEST_CASE("explored: a future gives its value to all who wait, and to who comes later") {
  struct asked {
    std::optional<aio::future<int>> answer;
    int heard = 0;
  };
  check("future", [] {
    auto s = std::make_shared<asked>();
    auto const hears = [s]() -> aio::task<> {
      if (!s->answer) s->answer.emplace();
      require(co_await aio::shield(*s->answer) == 7, "another value");
      ++s->heard;
    };
    program made;
    made.tasks.emplace_back(hears);
    made.tasks.emplace_back(hears);
    made.tasks.emplace_back([s]() -> aio::task<> {
      if (!s->answer) s->answer.emplace();
      co_await yield();
      s->answer->set_result(7);
    });
    made.rescue = [s]() -> aio::task<> {
      co_await aio::testing::all_blocked();
      if (s->answer && !s->answer->done()) s->answer->set_result(7);
    };
    made.at_end = [s] { require(s->heard >= 1, "nobody heard of it"); };
    return made;
  });
}
