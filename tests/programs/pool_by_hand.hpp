// SPDX-License-Identifier: MIT
#pragma once

#include <chrono>
#include <cstddef>
#include <memory>
#include <stdexcept>
#include <utility>
#include <vector>

#include "aio/as_result.hpp"
#include "aio/error.hpp"
#include "aio/event.hpp"
#include "aio/semaphore.hpp"
#include "aio/task.hpp"
#include "aio/timeout.hpp"
#include "interfaces.hpp"

namespace programs::by_hand {

/// Connections that are opened when they are needed, so many at once, and kept while they work.
class pool {
 public:
  struct closed : std::runtime_error {
    closed() : std::runtime_error("the pool is closed") {}
  };

  /// A connection on loan, which goes back at the end of its scope. Must not outlive the pool.
  class lease {
   public:
    lease(lease&& other) noexcept
        : owner_(std::exchange(other.owner_, nullptr)),
          turn_(std::move(other.turn_)),
          connection_(std::move(other.connection_)) {}
    lease& operator=(lease&&) = delete;
    ~lease() {
      if (owner_) owner_->take_back(std::move(connection_));
    }
    connection* operator->() const noexcept { return connection_.get(); }

   private:
    friend class pool;
    lease(pool& owner, aio::semaphore::permit turn) noexcept : owner_(&owner), turn_(std::move(turn)) {
      ++owner.lent_;
    }
    pool* owner_;
    aio::semaphore::permit turn_;
    std::unique_ptr<connection> connection_;
  };

  pool(open_function open, std::ptrdiff_t most, std::chrono::milliseconds patience)
      : open_(std::move(open)), patience_(patience), turns_(most) {
    idle_.reserve(static_cast<std::size_t>(most));
  }

  /// Throws: pool_timeout; closed, also while it waits; what `open` throws.
  aio::task<lease> get() {
    if (closed_) throw closed();
    ++waiting_;
    auto turn = co_await aio::as_result(aio::wait_for(turns_.acquire(), patience_));
    --waiting_;
    if (turn.cancelled()) turn.rethrow();
    if (closed_) throw closed();
    if (!turn.has_value()) throw pool_timeout();
    lease lent(*this, std::move(turn).value());
    while (!idle_.empty() && !lent.connection_) {
      lent.connection_ = std::move(idle_.back());
      idle_.pop_back();
      if (!lent.connection_->works()) lent.connection_.reset();  // it broke meanwhile
    }
    if (!lent.connection_) lent.connection_ = co_await open_();
    co_return lent;
  }

  /// Lends no more, waits until all have come back, and closes them. May be called again.
  aio::task<> close() {
    if (!std::exchange(closed_, true)) {
      for (std::size_t left = waiting_; left > 0; --left) turns_.release();  // who waits sees that it is closed
    }
    while (lent_ > 0) {
      back_.clear();
      co_await back_.wait();
    }
    idle_.clear();
  }

 private:
  void take_back(std::unique_ptr<connection> one) {
    if (one && one->works()) idle_.push_back(std::move(one));
    if (--lent_ == 0) back_.set();
  }

  open_function open_;
  std::chrono::milliseconds patience_;
  aio::semaphore turns_;
  std::size_t waiting_ = 0;
  std::size_t lent_ = 0;
  aio::event back_;  // all of them
  bool closed_ = false;
  std::vector<std::unique_ptr<connection>> idle_;
};

}  // namespace programs::by_hand
