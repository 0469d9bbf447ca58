// SPDX-License-Identifier: MIT
#include <words.hpp>

#include <aio/error.hpp>
#include <aio/run.hpp>
#include <aio/task_handle.hpp>

#include <iostream>

aio::task<int> use() {
  auto from = std::make_shared<aio::queue<std::string>>();
  auto counted = aio::create_task(words::count(from, "one"));
  for (auto const* word : {"one", "two", "one"}) co_await from->put(word);
  from->shutdown();
  if (co_await counted != 2) co_return 1;

  // What the library throws is caught here, and what is asked for here is heard of there.
  try {
    co_await words::count(std::make_shared<aio::queue<std::string>>(), "one");
    co_return 2;
  } catch (aio::timeout_error const&) {
  }
  auto waits = aio::create_task(words::count(std::make_shared<aio::queue<std::string>>(), "one"));
  waits.cancel();
  try {
    co_await waits;
    co_return 3;
  } catch (aio::cancelled_error const&) {
  }
  co_return 0;
}

int main() {
  int const failed = aio::run(use());
  if (failed) std::cerr << "step " << failed << " failed\n";
  return failed;
}
