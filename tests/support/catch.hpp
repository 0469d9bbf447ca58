// SPDX-License-Identifier: MIT
#pragma once

// One include for Catch2 v2 (Debian 12) and v3. Where the two differ, the tests use the names in aio_test.

#include <string>

#if __has_include(<catch2/catch_test_macros.hpp>)
#include <catch2/catch_approx.hpp>
#include <catch2/catch_template_test_macros.hpp>
#include <catch2/catch_test_macros.hpp>
#include <catch2/catch_tostring.hpp>
#include <catch2/generators/catch_generators_all.hpp>
#include <catch2/matchers/catch_matchers_all.hpp>

namespace aio_test {
using Catch::Approx;
using Catch::Matchers::ContainsSubstring;
}  // namespace aio_test
#else
#include <catch2/catch.hpp>

namespace aio_test {
using Catch::Detail::Approx;  // in v2, Catch::Approx is a matcher of vectors
inline auto ContainsSubstring(std::string const& part) { return Catch::Matchers::Contains(part); }
}  // namespace aio_test
#endif
