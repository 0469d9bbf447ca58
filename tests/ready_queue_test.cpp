// SPDX-License-Identifier: MIT
#include "aio/detail/ready_queue.hpp"

#include <cstddef>
#include <string>
#include <vector>

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

namespace {
struct guest : aio::detail::removable_node {
  explicit guest(char name_) noexcept : removable_node([](ready_node*) noexcept {}), name(name_) {}
  char name;
};
}  // namespace

TEST_CASE("ready_queue: a removable node leaves from every place, also after others left and queues were joined") {
  struct entry {
    entry() : plain('-'), removable('-') {}
    item plain;
    guest removable;
    bool is_removable = false;
    [[nodiscard]] ready_node* node() { return is_removable ? static_cast<ready_node*>(&removable) : &plain; }
  };
  // Against a list of addresses, whatever order pushes, pops, splices and removals come in.
  unsigned state = 1;
  auto const random = [&](unsigned below) { return (state = state * 1664525u + 1013904223u) / 65536u % below; };
  for (int turn = 0; turn < 300; ++turn) {
    std::vector<entry> all(40);
    ready_queue queues[2];
    std::vector<entry*> expected[2];
    std::size_t used = 0;
    bool right = true;
    while (used < all.size()) {
      unsigned const which = random(2);
      auto& list = expected[which];
      switch (random(7)) {
        case 0:
        case 1:
        case 2: {
          entry& each = all[used++];
          each.is_removable = random(2) == 0;
          if (each.is_removable) {
            queues[which].push_removable(each.removable);
          } else {
            queues[which].push(each.plain);
          }
          list.push_back(&each);
          break;
        }
        case 3: {
          entry& each = all[used++];
          queues[which].push_front(each.plain);
          list.insert(list.begin(), &each);
          break;
        }
        case 4:
          if (!list.empty()) {
            right = right && &queues[which].pop() == list.front()->node();
            list.erase(list.begin());
          }
          break;
        case 5:
          queues[which].splice(queues[1 - which]);
          list.insert(list.end(), expected[1 - which].begin(), expected[1 - which].end());
          expected[1 - which].clear();
          break;
        default:
          if (!list.empty()) {
            std::size_t const at = random(static_cast<unsigned>(list.size()));
            if (list[at]->is_removable) {
              ready_queue::remove_from_either(queues[0], queues[1], list[at]->removable);
            } else {
              ready_node* const wanted = list[at]->node();
              right = right && queues[which].remove_if([&](ready_node& node) { return &node == wanted; }) == wanted;
            }
            list.erase(list.begin() + static_cast<std::ptrdiff_t>(at));
          }
      }
    }
    for (unsigned which : {0u, 1u}) {
      for (entry* each : expected[which]) {
        right = right && !queues[which].empty() && &queues[which].pop() == each->node();
      }
      right = right && queues[which].empty();
    }
    CHECK(right);
  }
}
