// SPDX-License-Identifier: MIT
#pragma once

// For the programs of a page, which are functions of one program: what each prints is told from the others by a mark.

#include <aio/aio.hpp>
#include <aio/testing/virtual_clock.hpp>
#include <cstdio>
#include <exception>
#include <iostream>

inline int run_one(char const* name, int (*program)()) {
  std::cout << '\x1e' << name << std::endl;
  int failed = 1;
  try {
    failed = program();
  } catch (std::exception const& error) {
    std::cerr << name << ": " << error.what() << '\n';
  } catch (...) {
    std::cerr << name << ": cancelled\n";
  }
  std::cout.flush();
  std::fflush(stdout);
  if (failed != 0) std::cerr << name << " failed\n";
  return failed;
}
