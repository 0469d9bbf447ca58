// SPDX-License-Identifier: MIT
#include "aio/config.hpp"

#include "support/catch.hpp"

TEST_CASE("config: the version is three numbers") {
  STATIC_REQUIRE(AIO_VERSION_MAJOR >= 0);
  STATIC_REQUIRE(AIO_VERSION_MINOR >= 0);
  STATIC_REQUIRE(AIO_VERSION_PATCH >= 0);
}
