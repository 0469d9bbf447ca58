// SPDX-License-Identifier: MIT
#include "aio/error.hpp"

#include "support/catch.hpp"

TEST_CASE("cancelled_error: is not a std::exception, so a handler for errors does not swallow it") {
  STATIC_REQUIRE_FALSE(std::is_base_of_v<std::exception, aio::cancelled_error>);
  std::string caught;
  try {
    throw aio::cancelled_error();
  } catch (std::exception const&) {
    caught = "exception";
  } catch (aio::cancelled_error const&) {
    caught = "cancelled";
  }
  CHECK(caught == "cancelled");
}

TEST_CASE("cancelled_error: has a message only if it was given one, be it empty") {
  aio::cancelled_error const without;
  CHECK_FALSE(without.has_message());
  CHECK(without.message().empty());

  aio::cancelled_error const with(std::string("stop"));
  CHECK(with.has_message());
  CHECK(with.message() == "stop");

  aio::cancelled_error const empty{std::string()};
  CHECK(empty.has_message());
  CHECK(empty.message().empty());
}

TEST_CASE("cancelled_error: copies share the message and do not throw") {
  STATIC_REQUIRE(std::is_nothrow_copy_constructible_v<aio::cancelled_error>);
  aio::cancelled_error const first(std::string("a message that is too long to be stored inside"));
  aio::cancelled_error const second = first;
  CHECK(second.message().data() == first.message().data());
}

TEST_CASE("timeout_error: says that the operation timed out, or what it is told to say") {
  CHECK(std::string(aio::timeout_error().what()) == "the operation timed out");
  CHECK(std::string(aio::timeout_error("no answer").what()) == "no answer");
  STATIC_REQUIRE(std::is_base_of_v<std::runtime_error, aio::timeout_error>);
}

TEST_CASE("usage_error and invalid_state_error: are errors of the program's logic") {
  STATIC_REQUIRE(std::is_base_of_v<std::logic_error, aio::usage_error>);
  STATIC_REQUIRE(std::is_base_of_v<std::logic_error, aio::invalid_state_error>);
}
