// SPDX-License-Identifier: MIT

// Tasks that use what is gone, where no program can know that it is: on the heap, or in a coroutine's own frame
// (docs/mistakes.md). The address sanitizer ends them, and says in which function.
//
//   aio_lifetimes view|closure|function|object

#include <chrono>
#include <cstdio>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <aio/aio.hpp>

namespace {

using namespace std::chrono_literals;

// Long enough to be on the heap.
std::string text_number(int n) { return "a string long enough to be on the heap " + std::to_string(n); }

aio::task<> prints_view(std::string_view text) {
  co_await aio::sleep_for(1ms);
  std::puts(std::string(text).c_str());
}

aio::task<> view() {
  std::vector<aio::task<>> all;
  for (int n = 0; n < 3; ++n) all.push_back(prints_view(text_number(n)));
  co_await aio::gather(std::move(all));
}

aio::task<> closure() {
  aio::task_handle<> printing;
  {
    auto const prints_capture = [text = text_number(0)]() -> aio::task<> {
      co_await aio::sleep_for(1ms);
      std::puts(text.c_str());
    };
    printing = aio::create_task(prints_capture());
  }
  co_await printing;
}

std::function<aio::task<>()> made_function() {
  return [text = text_number(0)]() -> aio::task<> {
    co_await aio::sleep_for(1ms);
    std::puts(text.c_str());
  };
}

aio::task<> function() {
  auto const printing = aio::create_task(made_function()());
  co_await printing;
}

class session {
 public:
  aio::task_handle<> start() {
    return aio::create_task([this]() -> aio::task<> {
      co_await aio::sleep_for(1ms);
      std::puts(name_.c_str());
    });
  }

 private:
  std::string name_ = text_number(0);
};

aio::task<> object() {
  auto printing = [] { return std::make_unique<session>()->start(); }();
  co_await printing;
}

}  // namespace

int main(int count, char** given) {
  std::string_view const shape = count > 1 ? given[1] : "";
  auto const options = aio::run_options().debug();
  if (shape == "view") {
    aio::run(options, view);
  } else if (shape == "closure") {
    aio::run(options, closure);
  } else if (shape == "function") {
    aio::run(options, function);
  } else if (shape == "object") {
    aio::run(options, object);
  } else {
    return 2;
  }
  std::puts("nobody noticed");
}
