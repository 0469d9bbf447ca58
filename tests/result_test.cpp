// SPDX-License-Identifier: MIT
#include "aio/result.hpp"

#include "support/catch.hpp"
#include "support/counted.hpp"

using aio_test::counted;
using aio_test::move_only;

namespace {
template <class T>
aio::result<T> failed() {
  return aio::result<T>(std::make_exception_ptr(std::runtime_error("broken")));
}
}  // namespace

TEST_CASE("result: holds a value made from arguments") {
  aio::result<std::string> const three(std::in_place, 3U, 'a');
  CHECK(three.has_value());
  CHECK(static_cast<bool>(three));
  CHECK(three.value() == "aaa");
  CHECK(three.error() == nullptr);
  CHECK_FALSE(three.cancelled());
  CHECK_NOTHROW(three.rethrow());
}

TEST_CASE("result: throws the error it holds from value() and rethrow()") {
  auto bad = failed<int>();
  CHECK_FALSE(bad.has_value());
  CHECK_FALSE(static_cast<bool>(bad));
  CHECK(bad.error() != nullptr);
  CHECK_FALSE(bad.cancelled());
  CHECK_THROWS_WITH(bad.value(), "broken");
  CHECK_THROWS_WITH(std::as_const(bad).value(), "broken");
  CHECK_THROWS_WITH(std::move(bad).value(), "broken");
  CHECK_THROWS_WITH(bad.rethrow(), "broken");  // the error is still there
}

TEST_CASE("result: tells a cancellation from other errors") {
  aio::result<int> const stopped(std::make_exception_ptr(aio::cancelled_error()));
  CHECK(stopped.cancelled());
  CHECK_THROWS_AS(stopped.value(), aio::cancelled_error);
}

TEST_CASE("result: gives its value as it is itself: const, mutable, or away") {
  STATIC_REQUIRE(std::is_same_v<decltype(std::declval<aio::result<int>&>().value()), int&>);
  STATIC_REQUIRE(std::is_same_v<decltype(std::declval<aio::result<int> const&>().value()), int const&>);
  STATIC_REQUIRE(std::is_same_v<decltype(std::declval<aio::result<int>>().value()), int>);
  {
    aio::result<move_only> one(std::in_place, 7);
    CHECK(one.value().value() == 7);
    move_only const taken = std::move(one).value();
    CHECK(taken.value() == 7);
    CHECK(one.value().value() == move_only::moved_from);
  }
  CHECK(counted::living() == 0);
}

TEST_CASE("result: of void only says whether there was an error") {
  aio::result<void> good(std::in_place);
  CHECK(good.has_value());
  CHECK_NOTHROW(good.value());
  CHECK_NOTHROW(std::as_const(good).value());
  CHECK_NOTHROW(std::move(good).value());
  CHECK_THROWS_WITH(failed<void>().value(), "broken");
}

TEST_CASE("result: of a reference refers, also when it is const") {
  int target = 1;
  aio::result<int&> const link(std::in_place, target);
  link.value() = 2;
  CHECK(target == 2);
  aio::result<int&> other = link;
  CHECK(&std::move(other).value() == &target);

  aio::result<int const&> const view(std::in_place, target);
  STATIC_REQUIRE(std::is_same_v<decltype(view.value()), int const&>);
  CHECK(&view.value() == &target);
}

TEST_CASE("result: copies and moves as its value does") {
  STATIC_REQUIRE(std::is_copy_constructible_v<aio::result<int>>);
  STATIC_REQUIRE_FALSE(std::is_copy_constructible_v<aio::result<move_only>>);
  STATIC_REQUIRE(std::is_move_constructible_v<aio::result<move_only>>);
  STATIC_REQUIRE_FALSE(std::is_default_constructible_v<aio::result<counted>>);
  {
    aio::result<counted> const first(std::in_place, 3);
    aio::result<counted> second = first;
    CHECK(second.value().value() == 3);
    second = failed<counted>();
    CHECK(counted::living() == 1);
  }
  CHECK(counted::living() == 0);
}

TEST_CASE("result: can hold an exception_ptr as its value") {
  aio::result<std::exception_ptr> const kept(std::in_place,
                                             std::make_exception_ptr(std::runtime_error("kept")));
  CHECK(kept.has_value());
  CHECK(kept.value() != nullptr);
  CHECK(kept.error() == nullptr);
}

TEST_CASE("result: asks for an error of a type, and describes it") {
  aio::result<int> const failed(std::make_exception_ptr(std::out_of_range("too far")));
  auto const* const found = failed.error<std::logic_error>();
  REQUIRE(found != nullptr);
  CHECK(std::string(found->what()) == "too far");
  CHECK(failed.error<std::runtime_error>() == nullptr);
  CHECK(aio::describe(failed.error()) == "std::out_of_range: too far");
  aio::result<int> const fine(std::in_place, 1);
  CHECK(fine.error<std::exception>() == nullptr);
  CHECK(aio::describe(fine.error()) == "no error");
}
