// SPDX-License-Identifier: MIT

// Hours of everything at once, by chance: is memory still what it was, and was anything lost?
//
//   aio_soak SECONDS [SEED [NAME...]]   where names are given, tasks do these things of its table alone
//
// A loop on a thread lives all the time; beside it, on the main thread, loops come and go, a second each. On each of
// them tasks do what they draw: groups that fail, gatherings, races, selects, timeouts, queues, locks, threads,
// connections that are cut off, TLS, datagrams, processes; a third of it is cancelled somewhere. Of what is done there
// are two accounts, kept at its two ends, that must agree. Between two rounds, when only what the long loop keeps is
// there, it looks at memory, descriptors and threads.
//
// It ends with 1 where accounts differ, an error came that nobody has made, descriptors or threads are not back, or
// memory grows: the slope of its last half by least squares is above what is said at `judge_slope`.

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cmath>
#include <csignal>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <deque>
#include <exception>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iostream>
#include <iterator>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <random>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include <sys/wait.h>
#include <unistd.h>
#if defined(__GLIBC__)
#include <malloc.h>
#endif

#include "aio/aio.hpp"
#if defined(AIO_SOAK_TLS)
#include "aio/tls.hpp"
#include "support/certificates.hpp"
#endif

namespace {

using namespace std::chrono_literals;
using steady = std::chrono::steady_clock;

// Sanitizers keep what is freed.
#if defined(__SANITIZE_THREAD__)
constexpr bool sees_memory = false;
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
constexpr bool sees_memory = false;
#else
constexpr bool sees_memory = !AIO_ADDRESS_SANITIZER;
#endif
#else
constexpr bool sees_memory = !AIO_ADDRESS_SANITIZER;
#endif

bool all_hold = true;

void check(std::string const& sentence, bool holds, std::string const& detail = "") {
  all_hold = all_hold && holds;
  std::cout << (holds ? "ok: " : "FAILED: ") << sentence << (detail.empty() ? "" : " (" + detail + ")") << std::endl;
}

/// The error of what is meant to fail.
struct planned : std::runtime_error {
  planned() : std::runtime_error("planned") {}
};

// ---- accounts

/// What was begun and how it ended. All loops write into it, each on its thread.
struct account {
  std::atomic<std::uint64_t> begun = 0;
  std::atomic<std::uint64_t> done = 0;
  std::atomic<std::uint64_t> cancelled = 0;
  std::atomic<std::uint64_t> failed = 0;
};

/// Two numbers that are one in the end.
struct balance {
  std::atomic<std::uint64_t> given = 0;
  std::atomic<std::uint64_t> got = 0;
};

struct ledger {
  std::map<std::string, account> scenarios;  // those of `world`, made before any thread
  std::map<std::string, balance> balances;
  std::atomic<std::uint64_t> loops = 0;
  std::atomic<std::uint64_t> answers = 0;   // of echo servers
  std::atomic<std::uint64_t> cut_off = 0;   // connections that ended otherwise
  std::atomic<std::uint64_t> reported = 0;  // errors for the exception handler, which were to be
  std::mutex mutex;
  std::vector<std::string> wrong;  // what nobody has made, the first of it

  void complain(std::string what) {
    std::lock_guard const lock(mutex);
    if (wrong.size() < 20) wrong.push_back(std::move(what));
  }
  /// Of a loop: an error that nobody received.
  void hear(aio::exception_context const& of) {
    ++reported;
    try {
      if (of.exception) std::rethrow_exception(of.exception);
    } catch (planned const&) {
      return;
    } catch (aio::system_error const&) {
      return;  // of connections that were cut off while something was written
    } catch (aio::incomplete_read_error const&) {
      return;
    } catch (...) {
    }
    complain("unheard: " + of.message);
  }
};

/// One that was given, and is got when it goes.
class both_ends {
 public:
  explicit both_ends(balance& of) noexcept : of_(of) { ++of_.given; }
  both_ends(both_ends const&) = delete;
  both_ends& operator=(both_ends const&) = delete;
  ~both_ends() { ++of_.got; }

 private:
  balance& of_;
};

// ---- a loop and what runs on it

class world {
 public:
  world(ledger& books, std::uint64_t seed, aio::event_loop* other) : books_(books), dice_(seed), other_(other) {}

  /// Makes the accounts, before there is one.
  static void prepare(ledger& books, std::vector<std::string> const& names) {
    if (!names.empty()) {
      std::erase_if(scenarios(), [&](entry const& each) { return std::ranges::find(names, each.name) == names.end(); });
      if (scenarios().size() != names.size()) throw std::invalid_argument("there is no such thing to do");
    }
    for (auto const& each : scenarios()) books.scenarios[each.name];
    for (char const* name : {children_balance, items_balance, sums_balance, functions_balance, calls_balance,
                             elsewhere_balance, handlers_balance}) {
      books.balances[name];
    }
  }

  /// What is there for all who come. On the loop that it belongs to, as all the rest.
  aio::task<> open() {
    auto const serve = [this](aio::stream_reader reader, aio::stream_writer writer) {
      return echo(std::move(reader), std::move(writer));
    };
    server_.emplace(co_await aio::start_server(serve, "127.0.0.1", 0));
    port_ = server_->sockets().front().port();
#if defined(AIO_SOAK_TLS)
    auto const quiet = [](aio::socket_address const&, aio::error_code) {};
    tls_server_.emplace(co_await aio::start_server(
        serve, "127.0.0.1", 0,
        aio::server_options().tls(aio_test::server_of()).on_handshake_error(quiet)));
    tls_port_ = tls_server_->sockets().front().port();
#endif
    datagrams_.emplace(co_await aio::open_datagram(aio::datagram_options().local_address("127.0.0.1", 0)));
    echoing_ = aio::create_task(echo_datagrams());
  }
  /// So many tasks that do what they draw, until then.
  aio::task<> mix(std::size_t workers, steady::time_point until) {
    co_await aio::with_task_group([&](aio::task_group& group) -> aio::task<> {
      for (std::size_t n = 0; n < workers; ++n) group.create_task(work(until));
      co_return;
    });
  }
  /// Leaves tasks behind, which the end of the loop cancels.
  void leave_some() {
    auto const stray = [](balance& in) -> aio::task<> {
      both_ends const alive(in);
      co_await aio::sleep_for(1h);
    };
    for (auto count = dice(4); count > 0; --count) (void)aio::create_task(stray, std::ref(children_));
  }
  aio::task<> close() {
    while (!items_.empty()) {
      total_.got += items_.get_nowait();
      ++taken_.got;
    }
    co_await server_->shutdown(std::chrono::milliseconds(20 * dice(2)));
#if defined(AIO_SOAK_TLS)
    co_await tls_server_->shutdown(0ms);
    tls_server_.reset();
#endif
    server_.reset();
    echoing_->cancel();
    auto const ended = co_await aio::as_result(std::move(*echoing_));
    if (!ended.cancelled()) books_.complain("the echo of datagrams had ended");
    datagrams_.reset();
  }

 private:
  using scenario = aio::task<> (world::*)();
  struct entry {
    char const* name;
    unsigned weight;
    scenario run;
  };
  static std::vector<entry>& scenarios();

  balance& of(char const* name) { return books_.balances.at(name); }
  std::size_t dice(std::size_t sides) { return std::uniform_int_distribution<std::size_t>(0, sides - 1)(dice_); }
  std::chrono::microseconds moment() { return std::chrono::microseconds(dice(3000)); }

  aio::task<> work(steady::time_point until) {
    std::size_t whole = 0;
    for (auto const& each : scenarios()) whole += each.weight;
    while (steady::now() < until) {
      std::size_t drawn = dice(whole);
      auto const* one = scenarios().data();
      for (; drawn >= one->weight; ++one) drawn -= one->weight;
      auto doing = aio::create_task(accounted(*one));
      aio::result<void> paused(std::in_place);
      if (dice(3) == 0) {
        paused = co_await aio::as_result(pause());
        doing.cancel();
      }
      auto const outcome = co_await aio::as_result(std::move(doing));
      // Cancelled itself, with the whole: not before the other has ended.
      if (paused.cancelled()) paused.value();
      if (outcome.cancelled() && aio::current_task().cancelling() > 0) outcome.value();
      co_await aio::sleep_for(moment());
    }
  }
  aio::task<> pause() {
    if (dice(2) == 0) {
      for (auto turns = dice(8); turns > 0; --turns) co_await aio::sleep_for(0s);
    } else {
      co_await aio::sleep_for(moment());
    }
  }
  aio::task<> accounted(entry const& one) {
    account& book = books_.scenarios.at(one.name);
    ++book.begun;
    try {
      co_await (this->*one.run)();
    } catch (aio::cancelled_error const&) {
      ++book.cancelled;
      throw;
    } catch (std::exception const& error) {
      ++book.failed;
      books_.complain(std::string(one.name) + ": " + error.what());
      co_return;
    }
    ++book.done;
  }

  // ---- what tasks draw

  aio::task<int> child(int value) {
    both_ends const alive(children_);
    co_await pause();
    co_return value;
  }
  aio::task<int> failing_child() {
    both_ends const alive(children_);
    co_await aio::sleep_for(moment());
    throw planned();
  }

  aio::task<> group() {
    bool const fails = dice(3) == 0;
    std::size_t const count = 1 + dice(8);
    int sum = 0;
    bool failed = false;
    try {
      co_await aio::with_task_group([&](aio::task_group& all) -> aio::task<> {
        auto const one = [this](int& into, int value) -> aio::task<> { into += co_await child(value); };
        for (std::size_t n = 0; n < count; ++n) all.create_task(one(sum, 1));
        if (fails) all.create_task(failing_child());
        co_await aio::sleep_for(0s);
      });
    } catch (aio::exception_group const& errors) {
      failed = true;
      if (errors.exceptions().size() != 1 || !errors.contains<planned>()) throw std::runtime_error("other errors");
    }
    if (failed != fails) throw std::runtime_error("an error was lost, or made");
    if (!fails && sum != static_cast<int>(count)) throw std::runtime_error("a child was lost");
  }
  aio::task<> gathering() {
    std::vector<aio::task<int>> several;
    std::size_t const count = 1 + dice(8);
    for (std::size_t n = 0; n < count; ++n) several.push_back(child(static_cast<int>(n)));
    if (dice(4) == 0) {
      several.push_back(failing_child());
      auto const results = co_await aio::gather(aio::return_exceptions, std::move(several));
      if (results.size() != count + 1 || results.back().has_value()) throw std::runtime_error("an error was lost");
    } else {
      auto const values = co_await aio::gather(std::move(several));
      for (std::size_t n = 0; n < count; ++n) {
        if (values.at(n) != static_cast<int>(n)) throw std::runtime_error("a wrong value");
      }
    }
  }
  aio::task<> racing() {
    if (dice(2) == 0) {
      auto const first = co_await aio::race(child(0), child(1), aio::sleep_for(moment()));
      if (first.index() < 2 && (first.index() == 0 ? std::get<0>(first) : std::get<1>(first)) !=
                                   static_cast<int>(first.index())) {
        throw std::runtime_error("a wrong value");
      }
    } else {
      bool failed = false;
      try {
        co_await aio::race(failing_child(), aio::sleep_for(1h));
      } catch (planned const&) {
        failed = true;
      }
      if (!failed) throw std::runtime_error("an error was lost");
    }
  }
  aio::task<> timeouts() {
    try {
      if (dice(2) == 0) {
        auto const body = [this]() -> aio::task<> { (void)co_await child(1); };
        co_await aio::with_timeout(moment(), body);
      } else {
        (void)co_await aio::wait_for(child(2), moment());
      }
    } catch (aio::timeout_error const&) {
    }
  }
  aio::task<> shielding() {
    auto inner = aio::create_task(child(3));
    try {
      co_await aio::shield(inner);
    } catch (aio::cancelled_error const&) {
      inner.cancel();
      throw;
    }
  }
  aio::task<> putting() {
    for (auto count = 1 + dice(4); count > 0; --count) {
      std::uint64_t const item = dice(1000);
      auto const put = [&]() -> aio::task<> {
        co_await items_.put(item);
        ++taken_.given;
        total_.given += item;
      };
      try {
        co_await aio::wait_for(put(), moment());
      } catch (aio::timeout_error const&) {
      }
    }
  }
  aio::task<> getting() {
    for (auto count = 1 + dice(4); count > 0; --count) {
      std::optional<std::uint64_t> item;
      if (dice(4) == 0) {
        auto const got = co_await aio::select(items_.get(), slots_.acquire());
        if (got.index() == 0) item = std::get<0>(got);
      } else {
        auto const got = co_await aio::select(items_.get(), aio::sleep_for(moment()));
        if (got.index() == 0) item = std::get<0>(got);
      }
      if (!item) continue;
      ++taken_.got;
      total_.got += *item;
    }
  }
  aio::task<> locking() {
    {
      auto const permit = co_await slots_.acquire();
      if (++with_permits_ > most_permits) throw std::runtime_error("too many permits");
      auto const less = std::unique_ptr<std::size_t, void (*)(std::size_t*)>(&with_permits_,
                                                                             [](std::size_t* of) { --*of; });
      auto const guard = co_await mutex_.acquire();
      if (std::exchange(locked_, true)) throw std::runtime_error("two have the lock");
      auto const free = std::unique_ptr<bool, void (*)(bool*)>(&locked_, [](bool* of) { *of = false; });
      co_await child(4);
    }
    if (dice(2) == 0) {
      auto const reading = co_await table_.acquire_shared();
      co_await aio::sleep_for(0s);
    } else {
      auto const writing = co_await table_.acquire();
      if (table_.readers() > 0) throw std::runtime_error("one reads what is written");
      co_await aio::sleep_for(0s);
    }
  }
  aio::task<> meeting() {
    auto const seen = [this](aio::broadcast<int>& from, std::size_t expected) -> aio::task<> {
      both_ends const alive(children_);
      auto mine = from.subscribe();
      std::size_t count = 0;
      while (auto const one = co_await mine.next()) ++count;
      if (count != expected) throw std::runtime_error("a message was lost");
    };
    aio::broadcast<int> news;
    std::size_t const count = 1 + dice(4);
    co_await aio::with_task_group([&](aio::task_group& all) -> aio::task<> {
      for (int n = 0; n < 3; ++n) all.create_task(seen(news, count));
      co_await aio::sleep_for(0s);
      for (std::size_t n = 0; n < count; ++n) co_await news.put(static_cast<int>(n));
      news.shutdown();
    });
  }
  aio::async_generator<int> numbers(int count) {
    both_ends const alive(children_);
    for (int n = 0; n < count; ++n) {
      co_await aio::sleep_for(0s);
      co_yield n;
    }
  }
  aio::task<> generating() {
    int const count = 1 + static_cast<int>(dice(6));
    auto all = numbers(count);
    int seen = 0;
    while (int const* each = co_await all.next()) {
      if (*each != seen++) throw std::runtime_error("a wrong value");
    }
    if (seen != count) throw std::runtime_error("a value was lost");
  }
  aio::task<> threads() {
    balance& functions = functions_;
    auto const length = moment() / 10;
    if (dice(3) == 0) {
      auto const busy = [&functions, length](aio::stop_token stop) {
        both_ends const alive(functions);
        for (int n = 0; n < 10 && !stop.stop_requested(); ++n) std::this_thread::sleep_for(length);
      };
      co_await aio::to_thread(busy);
    } else if (dice(2) == 0) {
      auto const busy = [&functions, length] {
        both_ends const alive(functions);
        std::this_thread::sleep_for(length);
      };
      co_await aio::to_thread(aio::abandon_on_cancel, busy);
    } else {
      auto const busy = [&functions, length](int value) {
        both_ends const alive(functions);
        std::this_thread::sleep_for(length);
        return 2 * value;
      };
      int const doubled = co_await aio::to_thread(busy, 21);
      if (doubled != 42) throw std::runtime_error("a wrong value");
    }
  }
  aio::task<> calling() {
    auto& loop = aio::get_running_loop();
    auto const count = 1 + dice(20);
    auto const post = [this, &loop, count] {
      both_ends const alive(functions_);
      for (std::size_t n = 0; n < count; ++n) {
        ++calls_.given;
        loop.call_soon_threadsafe([this] { ++calls_.got; });
      }
    };
    co_await aio::to_thread(post);
  }
  aio::task<> elsewhere() {
    if (!other_) co_return;
    balance& there = elsewhere_;
    auto const job = [](balance& of, std::chrono::microseconds length) -> aio::task<int> {
      both_ends const alive(of);
      co_await aio::sleep_for(length);
      co_return 7;
    };
    int const got = co_await aio::run_on(*other_, job, std::ref(there), moment());
    if (got != 7) throw std::runtime_error("a wrong value");
  }

  // ---- connections

  aio::task<> echo(aio::stream_reader reader, aio::stream_writer writer) {
    both_ends const alive(handlers_);
    try {
      while (auto const line = co_await reader.next_line()) {
        if (*line == "cut") {
          writer.write("half of an ans");
          writer.abort();
          co_return;
        }
        writer.write(std::string(*line) + "\n");
        co_await writer.drain();
      }
    } catch (aio::system_error const&) {  // the client is gone
    }
  }
  aio::task<> talk(aio::stream_pair ends) {
    auto& [reader, writer] = ends;
    for (auto count = dice(6); count > 0; --count) {
      std::string line(dice(8) == 0 ? 20000 + dice(40000) : dice(100), 'x');
      writer.write(line + "\n");
      co_await writer.drain();
      auto const answer = co_await reader.next_line();
      if (!answer || *answer != line) throw std::runtime_error("a line was lost");
      ++books_.answers;
    }
    switch (dice(5)) {
      case 0:  // a reset
        ++books_.cut_off;
        writer.write("half a li");
        writer.abort();
        break;
      case 1: {  // the other side does it
        ++books_.cut_off;
        writer.write("cut\n");
        auto const rest = co_await aio::as_result(reader.read());
        if (rest.has_value() && rest.value().size() > 14) throw std::runtime_error("more than was sent");
        break;
      }
      case 2: {  // one direction first
        writer.write("last\n");
        writer.write_eof();
        auto const rest = co_await reader.read();
        if (rest != "last\n") throw std::runtime_error("the last line was lost");
        ++books_.answers;
        break;
      }
      case 3: break;  // with its ends
      default: writer.close(); co_await writer.wait_closed();
    }
  }
  aio::task<> connecting() {
    std::string const host = dice(16) == 0 ? "localhost" : "127.0.0.1";
    co_await talk(co_await aio::open_connection(host, port_));
  }
#if defined(AIO_SOAK_TLS)
  aio::task<> encrypted() {
    static auto const context = aio_test::client_of();
    co_await talk(co_await aio::open_connection("127.0.0.1", tls_port_, aio::connect_options().tls(context)));
  }
#endif
  aio::task<> refused() {
    try {
      auto const ends = co_await aio::open_connection("127.0.0.1", 1);
      throw std::runtime_error("somebody listens on port 1");
    } catch (aio::connect_error const&) {
    }
  }
  aio::task<> echo_datagrams() {
    for (;;) {
      auto const one = co_await datagrams_->receive();
      co_await datagrams_->sendto(one.data, one.from);
    }
  }
  aio::task<> sending() {
    auto const to = datagrams_->sockname();
    auto socket = co_await aio::open_datagram(aio::datagram_options().remote_address(to));
    for (auto count = 1 + dice(5); count > 0; --count) {
      std::string const text(dice(1200), static_cast<char>('a' + dice(26)));
      co_await socket.send(text);
      aio::datagram const back = co_await aio::wait_for(socket.receive(), 10s);
      if (back.data != text) throw std::runtime_error("another datagram");
      ++books_.answers;
    }
  }
  aio::task<> processing() {
    auto const piped = aio::process_options().in(aio::stdio::pipe()).out(aio::stdio::pipe());
    auto cat = co_await aio::create_subprocess_exec(piped, "cat");
    auto const what = dice(4);
    if (what == 0) co_return;  // with its object
    if (what == 1) {
      cat.kill();
      int const status = co_await cat.wait();
      if (status != -SIGKILL) throw std::runtime_error("a wrong status");
      co_return;
    }
    std::string const text(dice(20000), 'y');
    auto const all = co_await cat.communicate(text);
    if (all.returncode != 0 || all.out != text) throw std::runtime_error("cat gave something else");
  }

  static constexpr std::size_t most_permits = 3;
  static constexpr char const* children_balance = "children, generators, strays: begun and ended";
  static constexpr char const* items_balance = "items of queues: put and got";
  static constexpr char const* sums_balance = "items of queues: the sums of them";
  static constexpr char const* functions_balance = "functions in threads: begun and ended";
  static constexpr char const* calls_balance = "calls from threads: made and run";
  static constexpr char const* elsewhere_balance = "tasks on the other loop: begun and ended";
  static constexpr char const* handlers_balance = "handlers of connections: begun and ended";

  ledger& books_;
  std::mt19937_64 dice_;
  aio::event_loop* other_;

  balance& children_ = of(children_balance);
  balance& taken_ = of(items_balance);
  balance& total_ = of(sums_balance);
  balance& functions_ = of(functions_balance);
  balance& calls_ = of(calls_balance);
  balance& elsewhere_ = of(elsewhere_balance);
  balance& handlers_ = of(handlers_balance);

  aio::queue<std::uint64_t> items_{4};
  aio::semaphore slots_{static_cast<std::ptrdiff_t>(most_permits)};
  std::size_t with_permits_ = 0;
  aio::lock mutex_;
  bool locked_ = false;
  aio::shared_lock table_;

  std::optional<aio::server> server_;
  std::uint16_t port_ = 0;
#if defined(AIO_SOAK_TLS)
  std::optional<aio::server> tls_server_;
  std::uint16_t tls_port_ = 0;
#endif
  std::optional<aio::datagram_socket> datagrams_;
  std::optional<aio::task_handle<>> echoing_;
};

std::vector<world::entry>& world::scenarios() {
  static std::vector<entry> all = {
      {"groups", 100, &world::group},
      {"gatherings", 100, &world::gathering},
      {"races", 100, &world::racing},
      {"timeouts", 100, &world::timeouts},
      {"shields", 50, &world::shielding},
      {"puts", 100, &world::putting},
      {"gets, selects", 100, &world::getting},
      {"locks", 100, &world::locking},
      {"broadcasts", 50, &world::meeting},
      {"generators", 50, &world::generating},
      {"threads", 100, &world::threads},
      {"calls from threads", 50, &world::calling},
      {"another loop", 50, &world::elsewhere},
      {"connections", 200, &world::connecting},
#if defined(AIO_SOAK_TLS)
      {"TLS", 30, &world::encrypted},
#endif
      {"refused connections", 20, &world::refused},
      {"datagrams", 100, &world::sending},
      {"processes", 4, &world::processing},
  };
  return all;
}

// ---- what the process has

struct measured {
  double minute = 0;
  std::ptrdiff_t resident = 0;  // KiB
  std::ptrdiff_t in_use = 0;    // KiB, of what malloc() gave out
  std::ptrdiff_t descriptors = 0;
  std::ptrdiff_t threads = 0;

  static std::ptrdiff_t entries(char const* folder) {
    return std::distance(std::filesystem::directory_iterator(folder), std::filesystem::directory_iterator());
  }
  static measured take(steady::time_point began) {
    measured now;
#if defined(__GLIBC__)
    (void)::malloc_trim(0);
#if __GLIBC_PREREQ(2, 33)
    auto const all = ::mallinfo2();
    now.in_use = static_cast<std::ptrdiff_t>((all.uordblks + all.hblkhd) / 1024);
#endif
#endif
    now.minute = std::chrono::duration<double, std::ratio<60>>(steady::now() - began).count();
    std::ifstream status("/proc/self/status");
    for (std::string word; status >> word;) {
      if (word == "VmRSS:") status >> now.resident;
    }
    now.descriptors = entries("/proc/self/fd") - 1;  // without the one that looks
    now.threads = entries("/proc/self/task");
    return now;
  }
  void print(char const* when) const {
    std::printf("%10s %10.2f %10td %10td %12td %8td\n", when, minute, resident, in_use, descriptors, threads);
    std::fflush(stdout);
  }
};

/// A line through what was measured, by least squares, in KiB per minute; and how far chance alone would turn it.
struct line {
  double slope = 0;
  double error = 0;  // its standard error

  template <class Value>
  static line through(std::span<measured const> points, Value value) {
    auto const count = static_cast<double>(points.size());
    double mean_x = 0, mean_y = 0;
    for (auto const& each : points) {
      mean_x += each.minute / count;
      mean_y += double(value(each)) / count;
    }
    double xx = 0, xy = 0;
    for (auto const& each : points) {
      xx += (each.minute - mean_x) * (each.minute - mean_x);
      xy += (each.minute - mean_x) * (double(value(each)) - mean_y);
    }
    line made;
    made.slope = xy / xx;
    // What one second is off, the next is mostly, too: so many points say as much as fewer that were independent.
    double squares = 0, neighbours = 0, before = 0;
    for (auto const& each : points) {
      double const off = double(value(each)) - mean_y - made.slope * (each.minute - mean_x);
      squares += off * off;
      neighbours += off * before;
      before = off;
    }
    double const alike = squares > 0 ? std::clamp(neighbours / squares, 0.0, 0.99) : 0;
    double const independent = std::max(3.0, count * (1 - alike) / (1 + alike));
    made.error = std::sqrt(squares / count / (independent - 2) / (xx / count));
    return made;
  }
};

aio::task<> play(world& here, steady::time_point until, bool cut, steady::time_point began, measured& peak) {
  co_await here.open();
  auto mixing = aio::create_task(here.mix(8, until));
  co_await aio::sleep_for((until - steady::now()) / 2);
  peak = measured::take(began);
  if (cut) mixing.cancel();
  auto const outcome = co_await aio::as_result(std::move(mixing));
  if (!outcome.cancelled()) outcome.value();
  co_await here.close();
  here.leave_some();
}

void judge(ledger& books) {
  std::printf("\n%-22s %12s %12s %12s %8s\n", "", "begun", "done", "cancelled", "failed");
  std::uint64_t begun = 0, ended = 0, failed = 0;
  for (auto const& [name, book] : books.scenarios) {
    std::printf("%-22s %12ju %12ju %12ju %8ju\n", name.c_str(), std::uintmax_t(book.begun), std::uintmax_t(book.done),
                std::uintmax_t(book.cancelled), std::uintmax_t(book.failed));
    begun += book.begun;
    ended += book.done + book.cancelled + book.failed;
    failed += book.failed;
  }
  std::printf("%ju loops, %ju answers, %ju connections cut off, %ju errors reported that were meant to be\n",
              std::uintmax_t(books.loops), std::uintmax_t(books.answers), std::uintmax_t(books.cut_off),
              std::uintmax_t(books.reported));
  std::fflush(stdout);
  check("what was begun has ended", begun == ended && begun > 0,
        std::to_string(begun) + " begun, " + std::to_string(ended) + " ended");
  check("nothing failed that was not to fail", failed == 0 && books.wrong.empty());
  for (auto const& each : books.wrong) std::cout << "  " << each << '\n';
  for (auto const& [name, two] : books.balances) {
    check(name, two.given == two.got, std::to_string(two.given) + ", " + std::to_string(two.got));
  }
}

/// Fails where the slope is more than `still` in the whole of that half, which caches of malloc() and OpenSSL may take
/// that fill ever more seldom, and more than 4 times what chance alone would make of it.
template <class Value>
void judge_slope(std::string const& what, std::span<measured const> points, double still, Value value) {
  auto const last_half = points.subspan(points.size() / 2);
  if (last_half.size() < 30) {
    std::printf("%s: no slope, of %zu points\n", what.c_str(), last_half.size());
    std::fflush(stdout);
    return;
  }
  line const found = line::through(last_half, value);
  double const bound = std::max(still / (last_half.back().minute - last_half.front().minute), 4 * found.error);
  std::string text(200, ' ');
  text.resize(static_cast<std::size_t>(std::snprintf(text.data(), text.size(),
                                                     "%+.2f KiB a minute, standard error %.2f, bound %.2f", found.slope,
                                                     found.error, bound)));
  check(what + " does not grow", found.slope <= bound, text);
}

/// Each thread of glibc keeps up to seven free blocks of each small size, which count as in use: what one that lives
/// long keeps grows for hours, as sizes come that are seldom. It can be had without, from the start of a program on.
void begin_without_caches([[maybe_unused]] char** argv) {
#if defined(__GLIBC__)
  if (!sees_memory || ::getenv("GLIBC_TUNABLES")) return;
  ::setenv("GLIBC_TUNABLES", "glibc.malloc.tcache_count=0", 1);
  ::execv("/proc/self/exe", argv);
  std::perror("exec");
#endif
}

}  // namespace

int main(int argc, char** argv) {
  begin_without_caches(argv);
  if (argc < 2) {
    std::cerr << "aio_soak SECONDS [SEED [NAME...]]" << std::endl;
    return 2;
  }
  auto const length = std::chrono::seconds(std::stoul(argv[1]));
  std::uint64_t const seed = argc > 2 ? std::stoull(argv[2]) : std::random_device()();
  std::mt19937_64 dice(seed);
  std::printf("seed %ju\n%10s %10s %10s %10s %12s %8s\n", std::uintmax_t(seed), "", "minute", "resident", "in use",
              "descriptors", "threads");
  // What the system and sanitizers keep from the first thread on is there before the account.
  std::thread([] {}).join();

  ledger books;
  world::prepare(books, {argv + std::min(argc, 3), argv + argc});
  auto const hear = [&books](aio::exception_context const& of) { books.hear(of); };
  auto const options = aio::run_options().exception_handler(hear);
  // Its pages are there from the beginning.
  std::vector<measured> points(static_cast<std::size_t>(2 * length.count() + 100));
  points.clear();

  auto const began = steady::now();
  auto const end = began + length;
  measured const before = measured::take(began);
  before.print("before");
  measured peak;
  {
    aio::loop_thread thread(options);
    world lasting(books, dice(), nullptr);
    thread.call([&] { return lasting.open(); });
    for (auto row = began; steady::now() < end;) {
      auto const until = std::min(end, steady::now() + std::chrono::milliseconds(600 + dice() % 800));
      auto beside = thread.start([&] { return lasting.mix(8, until); });
      world passing(books, dice(), &thread.loop());
      measured now;
      aio::run(options, [&] { return play(passing, until, dice() % 3 == 0, began, now); });
      ++books.loops;
      peak.descriptors = std::max(peak.descriptors, now.descriptors);
      peak.threads = std::max(peak.threads, now.threads);
      beside.get();
      points.push_back(measured::take(began));
      if (steady::now() >= row) {
        points.back().print("");
        row += std::max<steady::duration>(length / 20, 1s);
      }
    }
    thread.call([&] { return lasting.close(); });
  }
  // Threads that looked up names end after 5 s without work.
  measured after = measured::take(began);
  for (auto const enough = steady::now() + 20s; after.threads > before.threads && steady::now() < enough;) {
    std::this_thread::sleep_for(50ms);
    after = measured::take(began);
  }
  after.print("after");
  std::printf("at most %td descriptors and %td threads\n", peak.descriptors, peak.threads);

  judge(books);
  check("descriptors are back", after.descriptors == before.descriptors,
        std::to_string(after.descriptors) + " of " + std::to_string(before.descriptors));
  check("threads are back", after.threads == before.threads,
        std::to_string(after.threads) + " of " + std::to_string(before.threads));
  siginfo_t child{};
  check("no process is left, nor a zombie", ::waitid(P_ALL, 0, &child, WEXITED | WNOHANG | WNOWAIT) != 0);
  if (sees_memory) {
    judge_slope("resident memory", points, 64, [](measured const& at) { return at.resident; });
    judge_slope("memory in use", points, 16, [](measured const& at) { return at.in_use; });
  }
  return all_hold ? 0 : 1;
}
