// SPDX-License-Identifier: MIT

// When a child of a task group throws, the group cancels the others, waits until they have cleaned
// up, and throws one exception_group that lists every failure: nothing runs on, no error is lost.
// Here one child fails, and another one fails while it cleans up. Prints at the end:
//
//   2 children failed:
//   unhandled errors in a task_group (2 errors)
//     parse: std::invalid_argument: line 3: number expected
//       through main.cpp:50 in parse, created at main.cpp:60
//     upload: std::runtime_error: cannot remove the half-written file
//       through main.cpp:43 in upload, created at main.cpp:59

#include <aio/aio.hpp>

#include <chrono>
#include <exception>
#include <iostream>
#include <stdexcept>
#include <string>

using namespace std::chrono_literals;

// Says so on every way out. A local object's destructor is C++'s `finally`.
struct goodbye {
  std::string name;
  ~goodbye() { std::cout << name << ": cleaned up\n"; }
};

aio::task<> download(std::string name) {
  goodbye at_exit{name};
  std::cout << name << ": working\n";
  co_await aio::sleep_for(1h);  // cancelled here
  std::cout << name << ": never printed\n";
}

aio::task<> upload() {
  goodbye at_exit{"upload"};
  std::cout << "upload: working\n";
  // For a clean-up that awaits, as_result gives what came out as a value, the cancellation too.
  auto outcome = co_await aio::as_result(aio::sleep_for(1h));
  std::cout << "upload: cancelled, removing the half-written file\n";
  co_await aio::sleep_for(1ms);
  if (!outcome.has_value()) throw std::runtime_error("cannot remove the half-written file");
}

aio::task<> parse() {
  goodbye at_exit{"parse"};
  std::cout << "parse: working\n";
  co_await aio::sleep_for(10ms);
  throw std::invalid_argument("line 3: number expected");
}

aio::task<> async_main() {
  try {
    co_await aio::with_task_group([](aio::task_group& tg) -> aio::task<> {
      tg.create_task(download("download 1")).set_name("download 1");
      tg.create_task(download("download 2")).set_name("download 2");
      tg.create_task(upload()).set_name("upload");
      tg.create_task(parse()).set_name("parse");
      co_return;
    });
    std::cout << "all done: never printed\n";
  } catch (aio::exception_group const& group) {
    std::cout << group.exceptions().size() << " children failed:\n"
              << group.what() << '\n';
  }
}

int main() { aio::run(async_main()); }
