// SPDX-License-Identifier: MIT
#include "aio/exception_group.hpp"

#include <thread>

#include "aio/error.hpp"
#include "support/catch.hpp"

using aio::exception_group;

namespace {
template <class E = std::runtime_error>
std::exception_ptr error(std::string const& text) {
  return std::make_exception_ptr(E(text));
}
// The group's errors as names, nested ones in brackets.
std::string shape(std::optional<exception_group> const& group) {
  if (!group) return "none";
  std::string text = "[";
  for (std::size_t i = 0; i < group->exceptions().size(); ++i) {
    if (text.size() > 1) text += " ";
    if (!group->task_names()[i].empty()) text += group->task_names()[i] + "=";
    try {
      std::rethrow_exception(group->exceptions()[i]);
    } catch (exception_group const& nested) {
      text += shape(nested);
    } catch (std::exception const& e) {
      text += e.what();
    } catch (...) {
      text += "?";
    }
  }
  return text + "]";
}
}  // namespace

TEST_CASE("exception_group: what() lists every error with its task, its type and its text") {
  exception_group const group("two children failed",
                              {error("disk full"), error<std::invalid_argument>("no such page")},
                              {"writer", "reader"});
  CHECK(std::string(group.what()) ==
        "two children failed (2 errors)\n"
        "  writer: std::runtime_error: disk full\n"
        "  reader: std::invalid_argument: no such page");
  CHECK(group.message() == "two children failed");
  CHECK(group.exceptions().size() == 2);
  CHECK(group.task_names() == std::vector<std::string>{"writer", "reader"});
}

TEST_CASE("exception_group: what() counts one error as one, and needs no names") {
  exception_group const group("a group", {error("alone")});
  CHECK(std::string(group.what()) ==
        "a group (1 error)\n"
        "  std::runtime_error: alone");
  CHECK(group.task_names() == std::vector<std::string>{""});
}

TEST_CASE("exception_group: what() indents nested groups and texts of several lines") {
  exception_group const inner("inner", {error("first\nsecond"), std::make_exception_ptr(42)},
                              {"deep", ""});
  exception_group const outer("outer", {std::make_exception_ptr(inner), error("flat")},
                              {"parent", "child"});
  CHECK(std::string(outer.what()) ==
        "outer (2 errors)\n"
        "  parent: inner (2 errors)\n"
        "    deep: std::runtime_error: first\n"
        "    second\n"
        "    an exception of type int\n"
        "  child: std::runtime_error: flat");
}

TEST_CASE("exception_group: what() knows cancellations, with and without a message") {
  exception_group const group(
      "g", {std::make_exception_ptr(aio::cancelled_error()),
            std::make_exception_ptr(aio::cancelled_error(std::string("stop")))});
  CHECK(std::string(group.what()) ==
        "g (2 errors)\n"
        "  aio::cancelled_error\n"
        "  aio::cancelled_error: stop");
}

TEST_CASE("exception_group: split parts the errors of one type from the others") {
  exception_group const group("g", {error("a"), error<std::logic_error>("b"), error("c")},
                              {"A", "B", "C"});
  auto const [matching, rest] = group.split<std::runtime_error>();
  CHECK(shape(matching) == "[A=a C=c]");
  CHECK(shape(rest) == "[B=b]");
  CHECK(matching->message() == "g");
  CHECK(rest->message() == "g");
}

TEST_CASE("exception_group: split gives no group where it would be empty") {
  exception_group const group("g", {error("a"), error("b")});
  auto const [all, nothing] = group.split<std::exception>();
  CHECK(shape(all) == "[a b]");
  CHECK(shape(nothing) == "none");
  auto const [none, everything] = group.split<aio::timeout_error>();
  CHECK(shape(none) == "none");
  CHECK(shape(everything) == "[a b]");
}

TEST_CASE("exception_group: split looks into nested groups and keeps their shape") {
  exception_group const deepest("deepest", {error<std::out_of_range>("x"), error("y")});
  exception_group const inner("inner",
                              {std::make_exception_ptr(deepest), error<std::logic_error>("z")},
                              {"deep", "flat"});
  exception_group const outer("outer", {error("a"), std::make_exception_ptr(inner)}, {"", "in"});
  auto const [logic, rest] = outer.split<std::logic_error>();  // out_of_range derives from it
  CHECK(shape(logic) == "[in=[deep=[x] flat=z]]");
  CHECK(shape(rest) == "[a in=[deep=[y]]]");

  auto const [runtime, others] = outer.split<std::runtime_error>();
  CHECK(shape(runtime) == "[a in=[deep=[y]]]");
  CHECK(shape(others) == "[in=[deep=[x] flat=z]]");
}

TEST_CASE("exception_group: split by the group itself matches nested groups as a whole") {
  exception_group const inner("inner", {error("x")});
  exception_group const outer("outer", {error("a"), std::make_exception_ptr(inner)});
  auto const [groups, rest] = outer.split<exception_group>();
  CHECK(shape(groups) == "[[x]]");
  CHECK(shape(rest) == "[a]");
}

TEST_CASE("exception_group: split takes types that are no std::exception, too") {
  exception_group const group("g", {std::make_exception_ptr(42), error("a")});
  auto const [ints, rest] = group.split<int>();
  CHECK(shape(ints) == "[?]");
  CHECK(shape(rest) == "[a]");
}

TEST_CASE("exception_group: contains looks for a type, in nested groups too") {
  aio::exception_group const inner("inner", {std::make_exception_ptr(std::out_of_range("far"))});
  aio::exception_group const group("outer", {std::make_exception_ptr(7), std::make_exception_ptr(inner)});
  CHECK(group.contains<std::out_of_range>());
  CHECK(group.contains<std::logic_error>());
  CHECK(group.contains<int>());
  CHECK(group.contains<aio::exception_group>());
  CHECK_FALSE(group.contains<std::runtime_error>());
}

TEST_CASE("exception_group: handle calls a function for the errors of a type, and gives the others") {
  aio::exception_group const inner("inner", {std::make_exception_ptr(std::out_of_range("far")),
                                             std::make_exception_ptr(std::runtime_error("inside"))});
  aio::exception_group const group(
      "outer",
      {std::make_exception_ptr(std::out_of_range("near")), std::make_exception_ptr(inner), std::make_exception_ptr(7)},
      {"a", "b", "c"});
  std::string heard;
  auto rest = group.handle<std::out_of_range>([&](std::out_of_range const& error) { heard += error.what(); });
  CHECK(heard == "nearfar");
  CHECK(std::string(rest->what()) ==
        "outer (2 errors)\n  b: inner (1 error)\n    std::runtime_error: inside\n  c: an exception of type int");
  if (rest) rest = rest->handle<std::exception>([&](std::exception const& error) { heard += error.what(); });
  CHECK(heard == "nearfarinside");
  if (rest) rest = rest->handle<int>([&](int number) { heard += std::to_string(number); });
  CHECK(heard == "nearfarinside7");
  CHECK_FALSE(rest.has_value());
  auto const all = group.handle<std::bad_alloc>([&](std::bad_alloc const&) { heard += "!"; });
  CHECK(heard == "nearfarinside7");
  CHECK(all->exceptions().size() == 3);
}

TEST_CASE("exception_group: what the function of handle throws comes with the others when all were handled") {
  aio::exception_group const group(
      "outer", {std::make_exception_ptr(1), std::make_exception_ptr(2), std::make_exception_ptr('c')});
  std::string heard;
  try {
    (void)group.handle<int>([&](int number) {
      heard += std::to_string(number);
      if (number == 1) throw std::runtime_error("while handling");
    });
    FAIL("nothing was thrown");
  } catch (aio::exception_group const& thrown) {
    CHECK(heard == "12");
    CHECK(std::string(thrown.what()) ==
          "outer (2 errors)\n  std::runtime_error: while handling\n  outer (1 error)\n    an exception of type char");
  }
}

TEST_CASE("exception_group: copies share the errors and do not throw") {
  STATIC_REQUIRE(std::is_base_of_v<std::exception, exception_group>);
  STATIC_REQUIRE(std::is_nothrow_copy_constructible_v<exception_group>);
  STATIC_REQUIRE(std::is_nothrow_copy_assignable_v<exception_group>);
  exception_group const first("g", {error("a")});
  exception_group second = first;
  CHECK(second.what() == first.what());
  exception_group const moved = std::move(second);
  CHECK(second.what() == first.what());  // a moved-from one still has something to say
  CHECK(moved.what() == first.what());
}

TEST_CASE("exception_group: what() is composed once for all copies, whichever thread asks first") {
  for (int round = 0; round < 20; ++round) {
    exception_group const inner("inner", {error("a"), error("b")});
    exception_group const group("g", {std::make_exception_ptr(inner), error("c")});
    exception_group const copy = group;
    char const* here = nullptr;
    char const* there = nullptr;
    std::thread other([&] { there = copy.what(); });
    here = group.what();
    other.join();
    CHECK(here == there);
  }
}

TEST_CASE("exception_group: what() asks for the texts of its errors when it is asked itself") {
  struct counting : std::exception {
    explicit counting(int& times) : asked(&times) {}
    char const* what() const noexcept override { return ++*asked, "counted"; }
    int* asked;
  };
  int asked = 0;
  exception_group const inner("inner", {std::make_exception_ptr(counting(asked))});
  exception_group const group("g", {std::make_exception_ptr(inner)});
  CHECK(asked == 0);
  CHECK(std::string(group.what()).ends_with("counted"));
  CHECK(asked == 1);
  (void)group.what();
  CHECK(asked == 1);
}

TEST_CASE("exception_group: what() of a derived class is its own, also inside another group") {
  struct own : exception_group {
    using exception_group::exception_group;
    char const* what() const noexcept override { return "in its own\nwords"; }
  };
  exception_group const group("g", {std::make_exception_ptr(own("inner", {error("a")}))}, {"task"});
  CHECK(std::string(group.what()) ==
        "g (1 error)\n"
        "  task: in its own\n"
        "  words");
}

TEST_CASE("exception_group: what() indents sixty-four groups inside each other and no more") {
  auto made = error("x");
  for (int i = 0; i < 70; ++i) made = std::make_exception_ptr(exception_group("g", {made}));
  std::string const text = aio::detail::describe(made);
  CHECK(text.ends_with("\n" + std::string(128, ' ') + "std::runtime_error: x"));
}

TEST_CASE("exception_group: can be thrown, and caught as a std::exception") {
  std::string text;
  try {
    throw exception_group("g", {error("a")});
  } catch (std::exception const& e) {
    text = e.what();
  }
  CHECK(text == "g (1 error)\n  std::runtime_error: a");
}
