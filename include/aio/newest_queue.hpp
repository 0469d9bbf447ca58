// SPDX-License-Identifier: MIT
#pragma once

// A queue that keeps the newest items, and drops the oldest for them.
//
//   aio::newest_queue<position> seen{1};            // 1: the latest alone
//
//   seen.put_nowait(where());                       // producer: never waits
//   while (auto at = co_await seen.next()) {        // consumer, however slow
//     show(*at, seen.dropped());
//   }

#include "aio/config.hpp"

#include <cstddef>
#include <cstdint>
#include <stdexcept>
#include <utility>

#include "aio/queue.hpp"
#pragma GCC visibility push(default)

namespace aio::inline AIO_ABI {

/// First in, first out; of more than so many items the oldest goes. What is taken out, and how, is as in queue.
///
/// Threads, Lifetime: as queue.
/// asyncio: none.
template <class T>
class newest_queue : private queue<T> {
 public:
  using value_type = T;

  /// Throws: std::invalid_argument if `most` is less than 1.
  explicit newest_queue(std::ptrdiff_t most) : most_(static_cast<std::size_t>(most)) {
    if (most < 1) throw std::invalid_argument("a newest_queue keeps at least 1 item");
  }

  /// Puts an item in, and drops the oldest if there are too many then. There is no put() to be awaited.
  /// Throws: queue_shut_down; std::bad_alloc, and what T throws when it is moved: then nothing was put or dropped.
  void put_nowait(T item) {
    queue<T>::put_nowait(std::move(item));
    if (this->qsize() <= most_) return;
    ++dropped_;
    this->drop_next();
  }

  using queue<T>::get;
  using queue<T>::next;
  using queue<T>::get_many;
  using queue<T>::get_nowait;
  using queue<T>::try_get;
  using queue<T>::shutdown;
  using queue<T>::qsize;
  using queue<T>::empty;

  /// How many items it keeps.
  [[nodiscard]] std::size_t maxsize() const noexcept { return most_; }
  /// How many items went that nobody had taken, except by shutdown().
  [[nodiscard]] std::uint64_t dropped() const noexcept { return dropped_; }

 private:
  std::size_t most_;
  std::uint64_t dropped_ = 0;
};

}  // namespace aio::inline AIO_ABI

#pragma GCC visibility pop
