// SPDX-License-Identifier: MIT
#include "words.hpp"

#include <aio/timeout.hpp>

#include <chrono>

namespace words {

aio::task<int> count(source from, std::string word) {
  int found = 0;
  try {
    for (;;) {
      if (co_await aio::wait_for(from->get(), std::chrono::seconds(1)) == word) ++found;
    }
  } catch (aio::queue_shut_down const&) {
  }
  co_return found;
}

}  // namespace words
