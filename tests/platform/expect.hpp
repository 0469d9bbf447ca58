// SPDX-License-Identifier: MIT
#pragma once

#include <cstdio>
#include <cstdlib>

/// How often expect() was called.
inline int checks = 0;

/// Ends the program with what is wrong, unless it holds.
inline void expect(bool holds, char const* what) {
  ++checks;
  if (holds) return;
  std::printf("wrong: %s\n", what);
  std::exit(1);
}
