// SPDX-License-Identifier: MIT

// Tasks, callbacks and errors of a program and of a library meet on one loop. Each holds a copy of what aio defines:
// that these are one, or that it does not matter, depends on how the two were compiled and linked. Given a path it
// opens the library there, as plugins are, and must be linked with -rdynamic; else the library was linked.

#include <cstdio>
#include <dlfcn.h>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "library.hpp"

using namespace std::chrono_literals;

namespace {

int failed = 0;
#define CHECK(...) \
  if (!(__VA_ARGS__)) std::printf("line %d: %s does not hold\n", __LINE__, #__VA_ARGS__), ++failed

struct only_here {  // with -fvisibility=hidden no other object knows this type
  int value;
};
aio::task<only_here> give(int value) {
  co_await aio::sleep_for(0s);
  co_return only_here{value};
}

aio::task<> use(library const& lib, aio::event_loop& loop, std::vector<std::string>& reports) {
  // Awaited, and as tasks of either
  int const slept = co_await lib.sleep(1);
  CHECK(slept == 2);
  int const both = co_await lib.create_and_await(3);
  CHECK(both == 8);
  auto [a, b, c] = co_await aio::gather(lib.sleep(5), give(6), lib.create_and_await(7));
  CHECK(a == 6 && b.value == 6 && c == 16);

  // The same loop and the same task
  auto const self = aio::current_task();
  bool const knows = co_await lib.knows_where_it_runs(loop, self);
  CHECK(knows);
  auto first = aio::create_task(lib.sleep(0));
  int begun = 0;
  auto second = lib.start(loop, begun);
  CHECK(first.name() != second.name());

  // Cancelled before it began, and while it waits
  second.cancel();
  auto const never = co_await aio::as_result(second);
  CHECK(never.cancelled() && begun == 0);
  auto begins = lib.start(loop, begun);
  co_await aio::sleep_for(0s);
  begins.cancel();
  auto const ended = co_await aio::as_result(begins);
  CHECK(ended.cancelled() && begun == 1);
  int cleaned_up = 0;
  auto waits = aio::create_task(lib.wait(cleaned_up));
  co_await aio::sleep_for(0s);
  waits.cancel();
  auto const waited = co_await aio::as_result(waits);
  CHECK(waited.cancelled() && cleaned_up == 1);

  // Limits of time, on either side
  bool const limited = co_await lib.limited();
  CHECK(limited);
  auto const late = co_await aio::as_result(aio::wait_for(lib.wait(cleaned_up), 1ms));
  CHECK(!late.has_value() && cleaned_up == 2);
  try {
    late.rethrow();
  } catch (aio::timeout_error const&) {
    cleaned_up = 0;
  }
  CHECK(cleaned_up == 0);

  // A value of this task's own
  static aio::context_var<int> variable(1);
  variable.set(2);
  int const read = co_await lib.read(variable);
  int const inherited = co_await aio::create_task(lib.read(variable));
  CHECK(read == 2 && inherited == 2);

  // A callback that the one adds and the other takes back
  int heard = 0;
  auto const third = aio::create_task(lib.sleep(0));
  auto const which = lib.listen(third, heard);
  CHECK(third.remove_done_callback(which));
  co_await third;
  co_await first;
  co_await aio::sleep_for(0s);
  CHECK(heard == 0);

  // An error that nobody reads goes to the handler of this loop, and of two shields one reports
  {
    auto const unread = aio::create_task(lib.fail());
    std::vector const all{unread};
    co_await aio::wait(all);
  }
  CHECK(reports.size() == 1);
  auto inner = loop.create_future();
  auto theirs = aio::create_task(lib.shield(inner));
  auto ours = aio::create_task([](aio::future<>& of) -> aio::task<> { co_await aio::shield(of); }, std::ref(inner));
  co_await aio::sleep_for(0s);
  theirs.cancel();
  ours.cancel();
  std::vector const shields{theirs, ours};
  co_await aio::wait(shields);
  co_await aio::sleep_for(0s);
  inner.set_exception(std::make_exception_ptr(std::runtime_error("inner")));
  co_await aio::sleep_for(0s);
  co_await aio::sleep_for(0s);
  CHECK(reports.size() == 2);
}

void use_all(library const& lib) {
  std::vector<std::string> reports;
  auto const kept = std::make_shared<int>(0);
  {
    aio::event_loop loop;
    loop.set_exception_handler([&](aio::exception_context const& context) { reports.push_back(context.message); });
    loop.run_until_complete(use(lib, loop, reports));
    (void)lib.call_later(loop, kept);
  }
  CHECK(kept.use_count() == 1 && *kept == 0);  // given up when the loop was closed
}

}  // namespace

int main(int argc, char** argv) {
  if (argc > 1) {
    void* const opened = dlopen(argv[1], RTLD_NOW | RTLD_LOCAL);
    if (!opened) {
      std::printf("%s\n", dlerror());
      return 2;
    }
    auto const get = reinterpret_cast<decltype(&aio_test_library)>(dlsym(opened, "aio_test_library"));
    use_all(*get());
    std::thread([&] { use_all(*get()); }).join();
    aio::event_loop loop;
    auto const still_runs = loop.create_task(give(3));
    int const last = loop.run_until_complete(get()->sleep(4));
    dlclose(opened);  // nothing of the library's is left, but what its tasks wrote into the loop and the thread
    CHECK(last == 5 && loop.run_until_complete(still_runs).value == 3);
  } else {
#if defined(LINKED)
    use_all(*aio_test_library());
    std::thread([&] { use_all(*aio_test_library()); }).join();
#endif
  }
  std::puts(failed == 0 ? "all hold" : "failed");
  return failed == 0 ? 0 : 1;
}
