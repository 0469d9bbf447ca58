// SPDX-License-Identifier: MIT
#pragma once

// How much a test does, for those who have the time for more: of a variable of the environment, or as much as a suite
// can have.

#include <cstdlib>

namespace aio_test {

inline long long asked_for(char const* variable, long long else_so_many) {
  char const* const wanted = std::getenv(variable);
  return wanted ? std::atoll(wanted) : else_so_many;
}

}  // namespace aio_test
