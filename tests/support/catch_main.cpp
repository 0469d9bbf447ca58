// SPDX-License-Identifier: MIT

// main() for Catch2 v2. With v3 it comes from the library.
#define CATCH_CONFIG_MAIN
#include <catch2/catch.hpp>
