// error: as_completed: g\+\+ 12 destroys a lambda with captures that have destructors, also in a view, twice when it is written inside a co_await expression; name the view on a line before and pass the name, or capture by reference
// SPDX-License-Identifier: MIT
// only: GNU 12
#include <aio/aio.hpp>

#include <ranges>
#include <string>

aio::task<> f(std::string, int);

aio::task<> g(std::string text) {
  auto const body = [](aio::bounded_completions<void>&) -> aio::task<> { co_return; };
  co_await aio::with_closing(
      aio::as_completed(aio::at_most(2),
                        std::views::iota(0, 9) | std::views::transform([text](int n) { return f(text, n); })),
      body);
}
