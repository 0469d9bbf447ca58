// SPDX-License-Identifier: MIT

// W13: fib(25), each call a task that makes two more and waits for them: by create_task. An operation is one call.
// W13b: the same by gather. W13c: by a task group.
// W13d: by gather(aio::eager, ...).
// W14: skynet: a tree whose every inner node gathers ten children, down to a million leaves. An operation is one leaf.
// W14b: the same by gather(aio::eager, ...).
//
// Numbers of operations are those of whole trees. Callbacks are the same in W13 to W13c.

#include <array>
#include <cstddef>
#include <cstdint>
#include <tuple>
#include <utility>

#include <aio/gather.hpp>
#include <aio/task_handle.hpp>

#include "bench.hpp"
#include "on_aio.hpp"
#include "on_asio.hpp"

#include <asio/experimental/awaitable_operators.hpp>  // in 1.22 it needs co_spawn before it

namespace {

struct fib {
  static constexpr std::size_t forks = 2;
  bool is_leaf() const { return n < 2; }
  std::uint64_t value() const { return n; }
  fib child(std::size_t i) const { return {n - 1 - i}; }

  /// The smallest tree of at least that many calls, and how many it has.
  static std::pair<fib, std::size_t> of(std::size_t wanted) {
    fib root{1};
    std::size_t before = 1;
    std::size_t calls = 1;
    for (; calls < wanted; ++root.n) before = std::exchange(calls, calls + before + 1);
    return {root, calls};
  }

  std::size_t n;
};

struct skynet {
  static constexpr std::size_t forks = 10;
  bool is_leaf() const { return leaves == 1; }
  std::uint64_t value() const { return first; }
  skynet child(std::size_t i) const { return {first + i * (leaves / forks), leaves / forks}; }

  static std::pair<skynet, std::size_t> of(std::size_t wanted) {
    std::size_t leaves = 1;
    while (leaves < wanted) leaves *= forks;
    return {{0, leaves}, leaves};
  }

  std::uint64_t first;
  std::size_t leaves;
};

template <class Node>
std::size_t whole(std::size_t wanted) {
  return Node::of(wanted).second;
}

// ---- aio: children that return numbers. A way to start them is a line here, and one in the table.

constexpr auto create = [](auto child) { return aio::create_task(std::move(child)); };
constexpr auto gather = [](auto... children) { return aio::gather(std::move(children)...); };
constexpr auto gather_eagerly = [](auto... children) { return aio::gather(aio::eager, std::move(children)...); };

template <class Node, auto start>
aio::task<std::uint64_t> created(Node node) {
  if (node.is_leaf()) co_return node.value();
  auto const handles = [&]<std::size_t... i>(std::index_sequence<i...>) {
    return std::array{start(created<Node, start>(node.child(i)))...};
  }(std::make_index_sequence<Node::forks>());
  std::uint64_t sum = 0;
  for (auto const& handle : handles) sum += co_await handle;
  co_return sum;
}

template <class Node, auto start>
aio::task<std::uint64_t> gathered(Node node) {
  if (node.is_leaf()) co_return node.value();
  auto gathering = [&]<std::size_t... i>(std::index_sequence<i...>) {
    return start(gathered<Node, start>(node.child(i))...);
  }(std::make_index_sequence<Node::forks>());
  auto const results = co_await std::move(gathering);
  co_return std::apply([](auto... each) { return (each + ...); }, results);
}

// ---- asio::awaitable: its operator && gathers two

asio::awaitable<std::uint64_t> asio_gathered(fib node) {
  using namespace asio::experimental::awaitable_operators;
  if (node.is_leaf()) co_return node.value();
  auto const [a, b] = co_await (asio_gathered(node.child(0)) && asio_gathered(node.child(1)));
  co_return a + b;
}

template <class Node, auto sum_of>
bench::task_of<bench::in_aio> aio_tree(std::size_t count) {
  bench::keep(co_await sum_of(Node::of(count).first));
}

asio::awaitable<void> asio_tree(std::size_t count) { bench::keep(co_await asio_gathered(fib::of(count).first)); }

// ---- both: children that add to a sum

template <class Library, class Node>
bench::task_of<Library> joined(Node node, std::uint64_t& sum) {
  if (node.is_leaf()) {
    sum += node.value();
  } else {
    co_await Library::join(Node::forks, [&](std::size_t i) { return joined<Library>(node.child(i), sum); });
  }
}

template <class Library, class Node>
bench::task_of<Library> joined_tree(std::size_t count) {
  std::uint64_t sum = 0;
  co_await joined<Library>(Node::of(count).first, sum);
  bench::keep(sum);
}

// ---- callbacks: each node posts its children, and tells its parent when the last of them is done

template <class Node>
struct posted_node {
  void run() {
    if (node.is_leaf()) return done(node.value());
    for (std::size_t i = 0; i < Node::forks; ++i) {
      auto* const child = new posted_node{context, node.child(i), this};
      asio::post(context, [child] { child->run(); });
    }
  }
  void done(std::uint64_t value) {
    if (!parent) return bench::keep(value);
    parent->sum += value;
    if (--parent->left == 0) parent->done(parent->sum);
    delete this;
  }

  asio::io_context& context;
  Node node;
  posted_node* parent;
  std::size_t left = Node::forks;
  std::uint64_t sum = 0;
};

template <class Node>
struct posted_tree : bench::by_hand {
  void start() { root.run(); }
  posted_node<Node> root{context, Node::of(count).first, nullptr};
};

constexpr std::size_t calls = 242'785;  // of fib(25)
constexpr std::size_t leaves = 1'000'000;

bench::add const by_create_task{{.name = "W13", .unit = "call", .whole = whole<fib>, .warm_up = calls},
                                {{"aio", calls, bench::on_aio<aio_tree<fib, created<fib, create>>>},
                                 {"callbacks", calls, bench::on_callbacks<posted_tree<fib>>}}};
bench::add const by_gather{{.name = "W13b", .unit = "call", .whole = whole<fib>, .warm_up = calls},
                           {{"aio", calls, bench::on_aio<aio_tree<fib, gathered<fib, gather>>>},
                            {"awaitable", calls, bench::on_asio<asio_tree>},
                            {"callbacks", calls, bench::on_callbacks<posted_tree<fib>>}}};
bench::add const by_group{{.name = "W13c", .unit = "call", .whole = whole<fib>, .warm_up = calls},
                          {{"aio", calls, bench::on_aio<joined_tree<bench::in_aio, fib>>},
                           {"awaitable", calls, bench::on_asio<joined_tree<bench::in_asio, fib>>},
                           {"callbacks", calls, bench::on_callbacks<posted_tree<fib>>}}};
bench::add const by_eager_gather{{.name = "W13d", .unit = "call", .whole = whole<fib>, .warm_up = calls},
                                 {{"aio", calls, bench::on_aio<aio_tree<fib, gathered<fib, gather_eagerly>>>},
                                  {"callbacks", calls, bench::on_callbacks<posted_tree<fib>>}}};
// Without a warm-up, so that the memory is seen.
bench::add const by_gather_of_ten{{.name = "W14", .unit = "leaf", .whole = whole<skynet>, .memory = true},
                                  {{"aio", leaves, bench::on_aio<aio_tree<skynet, gathered<skynet, gather>>>},
                                   {"awaitable", leaves, bench::on_asio<joined_tree<bench::in_asio, skynet>>},
                                   {"callbacks", leaves, bench::on_callbacks<posted_tree<skynet>>}}};
bench::add const by_eager_gather_of_ten{
    {.name = "W14b", .unit = "leaf", .whole = whole<skynet>, .memory = true},
    {{"aio", leaves, bench::on_aio<aio_tree<skynet, gathered<skynet, gather_eagerly>>>},
     {"callbacks", leaves, bench::on_callbacks<posted_tree<skynet>>}}};

}  // namespace
