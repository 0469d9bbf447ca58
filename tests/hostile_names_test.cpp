// SPDX-License-Identifier: MIT

// Types and names that other code would stumble over: macros of Qt, Windows, X11 and Apple that come before aio's
// headers, functions of the program with the names of aio's that take anything, results with operators of their own.

// NOLINTBEGIN: as those libraries have them
#define signals public
#define slots
#define emit
#define foreach nothing_of_aio
#define interface struct
#define near
#define far
#define ERROR 0
#define DELETE 1
#define OPTIONAL
#define TRUE 1
#define FALSE 0
#define None 0L
#define Status int
#define Bool int
#define True 1
#define False 0
#define Always 2
#define Success 0
#define nil 0
#define Yield()
#define check(assertion) nothing_of_aio
#define verify(assertion) nothing_of_aio
#define min(a, b) ((a) < (b) ? (a) : (b))
#define max(a, b) ((a) > (b) ? (a) : (b))
// NOLINTEND

// What only mentions aio's types needs nothing else.
#include "aio/fwd.hpp"

aio::task<int> mentions_everything(aio::task_handle<>& task, aio::future<int> const& value, aio::queue<int>& items,
                                   aio::server& from, aio::stream_reader& reader, aio::task_group& group);

#include "aio/aio.hpp"
#include "aio/testing/virtual_clock.hpp"

#undef signals
#undef emit
#undef None
#undef Always
#undef Status
#undef Success
#undef True
#undef False
#undef Bool
#undef check
#undef verify
#undef min
#undef max

#include <chrono>
#include <cstdint>
#include <limits>
#include <ratio>
#include <stdexcept>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include <asio/async_result.hpp>
#include <asio/io_context.hpp>
#include <asio/post.hpp>

#include "support/catch.hpp"

using namespace std::chrono_literals;

namespace greedy {

struct message {
  int number = 0;
  /// As pointers to COM objects have it.
  int* operator&() { return nullptr; }
  int const* operator&() const { return nullptr; }
  template <class Other>
  void operator,(Other&&) const = delete;
};

// Better matches for a message, and for what contains one, than whatever aio has.
// clang-format off
#define GREEDY(name)        \
  template <class... Args>  \
  int name(Args&&...) {     \
    FAIL("called " #name);  \
    return 0;               \
  }
GREEDY(as_result) GREEDY(with_finally) GREEDY(clean_up_with) GREEDY(create_task) GREEDY(detail_make_handle)
GREEDY(shield) GREEDY(run) GREEDY(make_task) GREEDY(call_with) GREEDY(await_as_task) GREEDY(awaiter_of)
GREEDY(take_result) GREEDY(as_child) GREEDY(keep_distinct) GREEDY(gather_given)
GREEDY(refuse_used_child) GREEDY(gather_range) GREEDY(note_end) GREEDY(end_in_error) GREEDY(pass_error_on)
GREEDY(to_clock) GREEDY(to_clock_rounded) GREEDY(wait_for_nothing) GREEDY(wait_for_nothing_with_task)
GREEDY(run_wait_for) GREEDY(make_callback) GREEDY(is_aborted) GREEDY(throw_status) GREEDY(unwrap)
GREEDY(belongs_to) GREEDY(context_of) GREEDY(describe) GREEDY(start_task) GREEDY(gather) GREEDY(race) GREEDY(wait)
GREEDY(move) GREEDY(forward) GREEDY(exchange) GREEDY(get) GREEDY(invoke) GREEDY(apply) GREEDY(swap)
GREEDY(destroy_at) GREEDY(construct_at) GREEDY(addressof) GREEDY(as_const) GREEDY(finish) GREEDY(call)
GREEDY(begin_with)
#undef GREEDY
// clang-format on

    inline bool
    operator<(message const& a, message const& b) {
  return a.number < b.number;
}

aio::task<message> make(int number) {
  co_await aio::sleep_for(0s);
  co_return message{number};
}

template <class Token>
auto async_message(asio::io_context& on, Token&& token) {
  return asio::async_initiate<Token, void(aio::error_code, message)>(
      [&on](auto handler) {
        asio::post(on, [handler = std::move(handler)]() mutable {
          std::move(handler)(aio::error_code(), message{5});
        });
      },
      token);
}

}  // namespace greedy

using greedy::make;
using greedy::message;

TEST_CASE("names: what waits, runs and hands over calls none of the program's own functions") {
  aio::testing::run([]() -> aio::task<> {
    message got = co_await greedy::async_message(aio::get_running_loop().context(), aio::use_awaitable);
    CHECK(got.number == 5);
    got = co_await aio::wait_for(make(1), 1s);
    CHECK(got.number == 1);
    auto const late = co_await aio::as_result(aio::wait_for(make(1), 0s));
    CHECK_FALSE(late.has_value());
    got = co_await aio::shield(make(2));
    CHECK(got.number == 2);
    auto pair = co_await aio::gather(make(3), make(4));
    CHECK(std::get<0>(pair).number + std::get<1>(pair).number == 7);
    std::vector<aio::task<message>> many;
    many.push_back(make(6));
    auto const all = co_await aio::gather(aio::return_exceptions, std::move(many));
    CHECK(all[0].value().number == 6);
    auto const raced = co_await aio::race(make(3), make(4));
    CHECK(raced.index() == 0);
    std::vector<aio::task_handle<message>> handles;
    handles.push_back(aio::create_task(make(7)));
    handles.push_back(aio::create_task([](message of) { return make(of.number); }, message{8}));
    auto const waited = co_await aio::wait(handles, aio::all_completed, 1s);
    CHECK(waited.done.size() == 2);
    int sum = 0;
    for (auto next : aio::as_completed(handles, 1s)) {
      got = co_await next;
      sum += got.number;
    }
    CHECK(sum == 15);
    auto const both = aio::gather(handles).as_future();
    (void)co_await both;
    CHECK(both.result()[1].number == 8);
  });
}

TEST_CASE("names: blocks, threads, futures and queues call none of the program's own functions") {
  aio::testing::run([]() -> aio::task<> {
    message got = co_await aio::with_timeout(1s, [] { return make(6); });
    CHECK(got.number == 6);
    got = co_await aio::with_finally(make(7), [] { return aio::sleep_for(0s); });
    CHECK(got.number == 7);
    got = co_await aio::to_thread([](message x) { return x; }, message{8});
    CHECK(got.number == 8);
    got = co_await aio::with_task_group([](aio::task_group& group) -> aio::task<message> {
      group.create_task(make(1));
      co_return message{9};
    });
    CHECK(got.number == 9);
    aio::future<message> future;
    bool told = false;
    future.add_done_callback([&](aio::future<message> const& done) { told = done.result().number == 10; });
    future.set_result(message{10});
    got = co_await future;
    CHECK(got.number == 10);
    CHECK(told == false);
    aio::queue<message> fifo;
    aio::lifo_queue<message> lifo;
    aio::priority_queue<message> least;
    co_await fifo.put(message{1});
    co_await lifo.put(message{2});
    co_await least.put(message{4});
    co_await least.put(message{3});
    auto const first = co_await fifo.get();
    auto const second = co_await lifo.get();
    auto const third = co_await least.get();
    CHECK(first.number + second.number + third.number == 6);
    aio::context_var<message> variable(message{11});
    CHECK(variable.get().number == 11);
    auto values = []() -> aio::async_generator<message> { co_yield message{12}; }();
    message* const yielded = co_await values.next();
    CHECK(yielded->number == 12);
    auto const running = aio::get_running_loop().call_soon([](message) {}, message{13});
    CHECK_FALSE(running.cancelled());
    co_await aio::sleep_for(0s);
    CHECK(told);
  });
  CHECK(aio::run(make(14)).number == 14);
}

namespace {

template <class Duration>
std::int64_t on_clock(Duration length) {
  return aio::detail::to_clock(length).count();
}
constexpr std::int64_t for_ever = (std::numeric_limits<std::int64_t>::max)();

template <class Float>
void rounds_and_limits() {
  using seconds = std::chrono::duration<Float>;
  using limits = std::numeric_limits<Float>;
  CHECK(on_clock(seconds(Float(0.5))) == 500'000'000);
  CHECK(on_clock(seconds(Float(-0.5))) == -500'000'000);
  CHECK(on_clock(seconds(limits::infinity())) == for_ever);
  CHECK(on_clock(seconds(-limits::infinity())) == -for_ever);
  CHECK(on_clock(seconds((limits::max)())) == for_ever);
  CHECK(on_clock(seconds(limits::lowest())) == -for_ever);
  // Valgrind computes with 64 bits where a long double has 80: it is nothing there.
  if (Float const volatile least = limits::denorm_min(); least > 0) CHECK(on_clock(seconds(least)) == 1);
  CHECK_THROWS_AS(on_clock(seconds(limits::quiet_NaN())), std::invalid_argument);
  for (Float const near_the_end : {Float(9.0e9), Float(9223371776.0), Float(9223372036.0), Float(9223372800.0)}) {
    std::int64_t const forward = on_clock(seconds(near_the_end));
    CHECK(forward >= 8'999'999'000'000'000'000);
    CHECK(on_clock(seconds(-near_the_end)) <= -8'999'999'000'000'000'000);
  }
}

}  // namespace

TEST_CASE("durations: those that no clock can hold mean for ever, and fractions are rounded up") {
  rounds_and_limits<float>();
  rounds_and_limits<double>();
  rounds_and_limits<long double>();
  using std::chrono::duration;
  CHECK(on_clock(duration<double>(0.1)) == 100'000'000);
  CHECK(on_clock((std::chrono::hours::max)()) == for_ever);
  CHECK(on_clock((std::chrono::hours::min)()) == -for_ever);
  CHECK(on_clock(duration<std::uint64_t>((std::numeric_limits<std::uint64_t>::max)())) == for_ever);
  CHECK(on_clock(duration<std::uint64_t, std::pico>(1)) == 1);
  CHECK(on_clock(duration<char>(char{2})) == 2'000'000'000);
  CHECK(on_clock(duration<std::int64_t, std::ratio<1, 3>>(3)) == 1'000'000'000);
  CHECK(on_clock(duration<std::int64_t, std::ratio<1, 3>>(1)) == 333'333'334);
  // What it is multiplied by on the way does not fit, the result does.
  CHECK(on_clock(duration<std::int64_t, std::ratio<1, 3>>(27'000'000'000)) / 1'000'000'000 == 9'000'000'000);
  CHECK(on_clock(duration<std::int64_t, std::ratio<1, 3>>((std::numeric_limits<std::int64_t>::max)())) == for_ever);
}

TEST_CASE("durations: every function that takes one takes the longest, the shortest and endless ones") {
  aio::testing::run([]() -> aio::task<> {
    auto const each = [](auto length) -> aio::task<> {
      auto const finite = aio::create_task(aio::sleep_for(1s));
      int const got = co_await aio::wait_for([]() -> aio::task<int> { co_return 1; }(), length);
      CHECK(got == 1);
      (void)co_await aio::with_timeout(length, [](aio::timeout& limit) -> aio::task<int> {
        limit.reschedule_after((std::chrono::hours::max)());
        limit.reschedule((aio::time_point::max)());
        limit.reschedule(std::nullopt);
        co_return 2;
      });
      auto timer = aio::get_running_loop().call_later(length, [] { FAIL("not so late"); });
      aio::get_running_loop().set_slow_callback_duration(length);
      std::vector<aio::task_handle<>> handles{finite};
      auto const waited = co_await aio::wait(handles, aio::all_completed, length);
      CHECK(waited.done.size() == 1);
      timer.cancel();
    };
    co_await each((std::chrono::hours::max)());
    co_await each((std::chrono::nanoseconds::max)());
    co_await each(std::chrono::duration<float>(9223371776.0F));
    co_await each(std::chrono::duration<double>(std::numeric_limits<double>::infinity()));
    co_await aio::sleep_for((std::chrono::hours::min)());
    co_await aio::sleep_for((std::chrono::nanoseconds::min)());
    co_await aio::sleep_until((aio::time_point::min)());
    auto const expired = co_await aio::as_result(
        aio::with_timeout_at((aio::time_point::min)(), []() -> aio::task<> { co_await aio::sleep_for(1s); }));
    CHECK_FALSE(expired.has_value());
  });
}

aio::task<int> mentions_everything(aio::task_handle<>&, aio::future<int> const& value, aio::queue<int>&, aio::server&,
                                   aio::stream_reader&, aio::task_group&) {
  co_return co_await value;
}
