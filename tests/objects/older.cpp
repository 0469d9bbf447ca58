// SPDX-License-Identifier: MIT

// Two versions of aio in one program, which have nothing of aio's between them: each is its own, also where the one
// runs inside of the other.
#include <cstdio>

#include "version.hpp"

std::string by_newer(std::function<std::string()> const& inside);

int main() {
  std::string const one = "slept, 42, timeout";
  std::string const expected = "[" + one + "], " + one;
  std::string const got = AIO_ABI::exercised([] { return by_newer(nullptr); });
  std::printf("%s\n", got.c_str());
  return got == expected ? 0 : 1;
}
