// SPDX-License-Identifier: MIT
#include "aio/detail/ready_queue.hpp"

#include "support/catch.hpp"

using aio::detail::ready_node;
using aio::detail::ready_queue;

namespace {
struct item : ready_node {
  explicit item(char name_) noexcept : ready_node([](ready_node*) noexcept {}), name(name_) {}
  char name;
};
std::string drain(ready_queue& queue) {
  std::string names;
  while (!queue.empty()) names += static_cast<item&>(queue.pop()).name;
  return names;
}
ready_node* take(ready_queue& queue, char name) {
  return queue.remove_if([=](ready_node& node) { return static_cast<item&>(node).name == name; });
}
}  // namespace

TEST_CASE("ready_queue: is first in, first out, and usable again when it was empty") {
  ready_queue queue;
  item a('a'), b('b'), c('c');
  CHECK(queue.empty());
  queue.push(a);
  queue.push(b);
  queue.push(c);
  CHECK(drain(queue) == "abc");
  queue.push(b);
  queue.push(a);
  CHECK(drain(queue) == "ba");
}

TEST_CASE("ready_queue: splice appends another queue in order and leaves it empty") {
  ready_queue queue;
  ready_queue other;
  item a('a'), b('b'), c('c'), d('d');
  queue.splice(other);
  CHECK(queue.empty());
  other.push(a);
  other.push(b);
  queue.splice(other);
  CHECK(other.empty());
  other.push(c);
  queue.splice(other);
  queue.push(d);
  queue.splice(other);
  CHECK(drain(queue) == "abcd");
}

TEST_CASE("ready_queue: splice_reversed appends a stack from its bottom to its top") {
  ready_queue queue;
  item a('a'), b('b'), c('c'), d('d'), e('e');
  a.next = nullptr;
  queue.splice_reversed(a);
  b.next = nullptr;
  c.next = &b;
  d.next = &c;
  queue.splice_reversed(d);
  queue.push(e);
  CHECK(drain(queue) == "abcde");
}

TEST_CASE("ready_queue: remove_if takes out the first match, wherever it is") {
  item a('a'), b('b'), c('c'), d('d');
  auto const without = [&](char name) {
    ready_queue queue;
    for (item* each : {&a, &b, &c}) queue.push(*each);
    ready_node* const found = take(queue, name);
    queue.push(d);  // the end was kept right
    return std::string(1, found ? static_cast<item*>(found)->name : '-') + " " + drain(queue);
  };
  CHECK(without('a') == "a bcd");
  CHECK(without('b') == "b acd");
  CHECK(without('c') == "c abd");
  CHECK(without('x') == "- abcd");
}

TEST_CASE("ready_queue: remove_if can empty it") {
  ready_queue queue;
  item a('a'), b('b');
  CHECK(take(queue, 'a') == nullptr);
  queue.push(a);
  CHECK(take(queue, 'a') == &a);
  CHECK(queue.empty());
  queue.push(b);
  CHECK(drain(queue) == "b");
}
