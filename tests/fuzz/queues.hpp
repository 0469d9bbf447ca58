// SPDX-License-Identifier: MIT
#pragma once

// Timers, ready queues and the pool of frames, each against a model that is slow and plain.

#include "aio/detail/frame_pool.hpp"
#include "aio/detail/ready_queue.hpp"
#include "aio/detail/timer_heap.hpp"

#include <algorithm>
#include <cstring>
#include <list>
#include <memory>
#include <vector>

#include "input.hpp"

namespace aio_fuzz {

/// A timer_heap against a list that is searched: the earliest first, and of equal ones the first that was added.
inline void timers(std::span<std::uint8_t const> bytes) {
  using namespace aio::detail;
  struct timer : ready_node {
    timer() noexcept : ready_node([](ready_node*) noexcept {}) {}
  };
  struct expected {
    time_point deadline;
    timer* node;
  };
  input in(bytes);
  timer_heap heap(std::uint32_t(0) - std::uint32_t(in.below(8)));  // its numbers begin anew on the way
  timer_heap other;
  timer stranger;
  other.add(stranger, time_point());
  std::vector<std::unique_ptr<timer>> nodes;
  std::vector<expected> model;  // in order of addition
  auto const earliest = [&] {
    return std::min_element(model.begin(), model.end(),
                            [](expected const& a, expected const& b) { return a.deadline < b.deadline; });
  };
  while (!in.empty()) {
    switch (in.below(4)) {
      case 0:
      case 1: {
        nodes.push_back(std::make_unique<timer>());
        time_point const deadline(std::chrono::nanoseconds(in.below(16)));
        heap.add(*nodes.back(), deadline, in.below(3));
        model.push_back({deadline, nodes.back().get()});
        break;
      }
      case 2: {
        if (model.empty()) break;
        auto const at = model.begin() + std::ptrdiff_t(in.below(std::min<std::size_t>(model.size(), 256)));
        require(heap.deadline_of(*at->node) == at->deadline, "a timer has another deadline");
        require(!other.remove(*at->node), "a timer was taken out of a heap that it is not in");
        require(heap.remove(*at->node), "a timer is not in its heap");
        model.erase(at);
        break;
      }
      default: {
        if (model.empty()) break;
        auto const at = earliest();
        require(heap.next() == at->deadline, "another deadline is the next one");
        require(&heap.pop() == at->node, "another timer came first");
        model.erase(at);
      }
    }
    require(heap.size() == model.size() && heap.empty() == model.empty(), "a heap has another size");
  }
  for (; !model.empty(); model.erase(earliest())) require(&heap.pop() == earliest()->node, "another timer came first");
  require(heap.empty(), "a timer is left");
}

/// Two ready queues against lists.
inline void ready_queues(std::span<std::uint8_t const> bytes) {
  using namespace aio::detail;
  struct plain : ready_node {
    plain() noexcept : ready_node([](ready_node*) noexcept {}) {}
  };
  struct removable : removable_node {
    removable() noexcept : removable_node([](ready_node*) noexcept {}) {}
  };
  struct entry {
    ready_node* node;
    removable_node* removable;  // as which it was put in; null: it cannot be taken out
  };
  input in(bytes);
  std::vector<std::unique_ptr<plain>> plains;
  std::vector<std::unique_ptr<removable>> removables;
  auto const new_plain = [&]() -> plain& { return *plains.emplace_back(std::make_unique<plain>()); };
  auto const new_removable = [&]() -> removable& { return *removables.emplace_back(std::make_unique<removable>()); };
  ready_queue queues[2];
  std::list<entry> models[2];
  auto const same = [&](std::size_t which) {
    auto at = models[which].begin();
    bool good = true;
    (void)queues[which].find_if([&](ready_node const& node) {
      good = good && at != models[which].end() && at->node == &node;
      if (good) ++at;
      return false;
    });
    return good && at == models[which].end();
  };
  while (!in.empty()) {
    std::size_t const which = in.below(2);
    auto& queue = queues[which];
    auto& model = models[which];
    switch (in.below(9)) {
      case 0: {
        auto& node = new_plain();
        require(queue.push(node) == model.empty(), "push() says wrongly whether it was empty");
        model.push_back({&node, nullptr});
        break;
      }
      case 1: {
        auto& node = new_removable();
        require(queue.push_removable(node) == model.empty(), "push_removable() says wrongly whether it was empty");
        model.push_back({&node, &node});
        break;
      }
      case 2: {
        auto& node = new_plain();
        queue.push_front(node);
        model.push_front({&node, nullptr});
        break;
      }
      case 3: {
        if (model.empty()) break;
        auto& node = queue.is_mixed() ? queue.pop() : queue.pop_plain();
        require(&node == model.front().node, "pop() gives another node");
        model.pop_front();
        break;
      }
      case 4:
        queue.splice(queues[1 - which]);
        model.splice(model.end(), models[1 - which]);
        break;
      case 5: {  // as other threads bring them: a stack
        ready_node* newest = nullptr;
        std::vector<entry> added;
        for (std::size_t left = 1 + in.below(3); left > 0; --left) {
          auto& node = new_plain();
          node.next = newest;
          newest = &node;
          added.push_back({&node, nullptr});
        }
        queue.splice_reversed(*newest);
        model.insert(model.end(), added.begin(), added.end());
        break;
      }
      case 6: {  // of either queue
        std::vector<std::pair<std::size_t, std::list<entry>::iterator>> all;
        for (std::size_t each : {std::size_t(0), std::size_t(1)}) {
          for (auto at = models[each].begin(); at != models[each].end(); ++at) {
            if (at->removable) all.emplace_back(each, at);
          }
        }
        if (all.empty()) break;
        auto const [where, at] = all[in.byte() % all.size()];
        if (in.below(2) == 0) {
          ready_queue::remove_from_either(queues[0], queues[1], *at->removable);
        } else {
          queues[where].remove(*at->removable);
        }
        models[where].erase(at);
        break;
      }
      case 7: {
        if (model.empty()) break;
        auto const at = std::next(model.begin(), std::ptrdiff_t(in.byte() % model.size()));
        auto const* const taken = queue.remove_if([&](ready_node& node) { return &node == at->node; });
        require(taken == at->node, "remove_if() takes another node");
        model.erase(at);
        break;
      }
      default: {  // every second one to the other queue, where it stays
        bool odd = false;
        queue.move_if([&](ready_node&) { return odd = !odd; }, queues[1 - which]);
        odd = false;
        for (auto at = model.begin(); at != model.end();) {
          odd = !odd;
          if (!odd) {
            ++at;
            continue;
          }
          models[1 - which].push_back({at->node, nullptr});
          at = model.erase(at);
        }
      }
    }
    for (std::size_t each : {std::size_t(0), std::size_t(1)}) {
      require(same(each), "a queue holds others, or in another order");
      require(queues[each].empty() == models[each].empty(), "empty() is wrong");
      require(queues[each].last() == (models[each].empty() ? nullptr : models[each].back().node), "last() is wrong");
    }
  }
}

/// Blocks keep what is written into them, and do not overlap, whenever the pool opens, ages, is trimmed or closed.
inline void pool(std::span<std::uint8_t const> bytes) {
  using aio::detail::frame_pool;
  struct block {
    unsigned char* memory;
    std::size_t size;
    unsigned char pattern;
  };
  input in(bytes);
  std::vector<block> blocks;
  unsigned char pattern = 0;
  auto const give_back = [](block const& each) {
    bool const whole = std::all_of(each.memory, each.memory + each.size,
                                   [&](unsigned char byte) { return byte == each.pattern; });
    require(whole, "a block was written to by another");
    frame_pool::deallocate(each.memory, each.size);
  };
  frame_pool::open();
  while (!in.empty()) {
    switch (in.below(8)) {
      case 0:
        frame_pool::age();
        break;
      case 1:
        frame_pool::trim();
        break;
      case 2:
        frame_pool::close();
        frame_pool::open();
        break;
      case 3:
      case 4:
      case 5: {
        std::size_t const size = 1 + in.byte() * (in.below(2) == 0 ? std::size_t{1} : std::size_t{32});
        auto* const memory = static_cast<unsigned char*>(frame_pool::allocate(size));
        require(reinterpret_cast<std::uintptr_t>(memory) % alignof(std::max_align_t) == 0, "a block is not aligned");
        blocks.push_back({memory, size, ++pattern});
        std::memset(memory, pattern, size);
        break;
      }
      default: {
        if (blocks.empty()) break;
        auto const at = blocks.begin() + std::ptrdiff_t(in.byte() % blocks.size());
        give_back(*at);
        blocks.erase(at);
      }
    }
  }
  for (block const& each : blocks) give_back(each);
  frame_pool::trim();
}

}  // namespace aio_fuzz
