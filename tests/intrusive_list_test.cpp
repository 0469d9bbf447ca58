// SPDX-License-Identifier: MIT
#include "aio/detail/intrusive_list.hpp"

#include "support/catch.hpp"

namespace {
struct first_tag {};
struct second_tag {};
struct item : aio::detail::list_link<first_tag>, aio::detail::list_link<second_tag> {
  explicit item(char name_) noexcept : name(name_) {}
  char name;
};
using first_list = aio::detail::intrusive_list<item, first_tag>;
using second_list = aio::detail::intrusive_list<item, second_tag>;

template <class List>
std::string names(List& list) {
  std::string all;
  for (item* each = list.front(); each; each = list.after(*each)) all += each->name;
  return all;
}
}  // namespace

TEST_CASE("intrusive_list: keeps the order in which elements came") {
  first_list list;
  item a('a'), b('b'), c('c');
  CHECK(list.empty());
  CHECK(list.front() == nullptr);
  for (item* each : {&a, &b, &c}) list.push_back(*each);
  CHECK(names(list) == "abc");
  CHECK(list.front() == &a);
  CHECK(list.after(c) == nullptr);
}

TEST_CASE("intrusive_list: elements leave from any place, and may come again") {
  first_list list;
  item a('a'), b('b'), c('c');
  for (item* each : {&a, &b, &c}) list.push_back(*each);
  first_list::remove(b);
  CHECK(names(list) == "ac");
  list.push_back(b);
  CHECK(names(list) == "acb");
  first_list::remove(a);
  first_list::remove(b);
  CHECK(names(list) == "c");
  first_list::remove(c);
  CHECK(list.empty());
}

TEST_CASE("intrusive_list: an element knows whether it is in a list, per tag") {
  first_list first;
  second_list second;
  item a('a'), b('b');
  using in_first = aio::detail::list_link<first_tag>;
  using in_second = aio::detail::list_link<second_tag>;
  CHECK_FALSE(a.in_first::linked());
  first.push_back(a);
  CHECK(a.in_first::linked());
  CHECK_FALSE(a.in_second::linked());
  second.push_back(b);
  second.push_back(a);
  first_list::remove(a);
  CHECK_FALSE(a.in_first::linked());
  CHECK(names(second) == "ba");
}
