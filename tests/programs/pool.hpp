// SPDX-License-Identifier: MIT
#pragma once

#include <chrono>
#include <cstddef>
#include <memory>
#include <utility>
#include <vector>

#include "aio/limiter.hpp"
#include "aio/observable.hpp"
#include "aio/task.hpp"
#include "aio/try_for.hpp"
#include "interfaces.hpp"

namespace programs {

/// Connections that are opened when they are needed, so many at once, and kept while they work.
class pool {
 public:
  using closed = aio::limiter_shut_down;

  /// A connection on loan, which goes back at the end of its scope. Must not outlive the pool.
  class lease {
   public:
    lease(lease&& other) noexcept
        : owner_(std::exchange(other.owner_, nullptr)),
          turn_(std::move(other.turn_)),
          connection_(std::move(other.connection_)) {}
    lease& operator=(lease&&) = delete;
    ~lease() {
      if (owner_) owner_->take_back(std::move(connection_), turn_);
    }
    connection* operator->() const noexcept { return connection_.get(); }

   private:
    friend class pool;
    lease(pool& owner, aio::limiter::permit turn) noexcept : owner_(&owner), turn_(std::move(turn)) {}
    pool* owner_;
    aio::limiter::permit turn_;
    std::unique_ptr<connection> connection_;
  };

  pool(open_function open, std::ptrdiff_t most, std::chrono::milliseconds patience)
      : open_(std::move(open)), patience_(patience), turns_(most) {
    idle_.reserve(static_cast<std::size_t>(most));
  }

  /// Throws: pool_timeout; closed, also while it waits; what `open` throws.
  aio::task<lease> get() {
    auto turn = co_await aio::try_for(patience_, turns_.acquire());
    if (!turn) throw pool_timeout();
    lease lent(*this, *std::move(turn));
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
    turns_.shutdown();
    lent_ = turns_.borrowed();
    co_await lent_.until([](std::size_t left) { return left == 0; });
    idle_.clear();
  }

 private:
  void take_back(std::unique_ptr<connection> one, aio::limiter::permit& turn) {
    if (one && one->works()) idle_.push_back(std::move(one));
    turn.release();
    lent_ = turns_.borrowed();
  }

  open_function open_;
  std::chrono::milliseconds patience_;
  aio::limiter turns_;
  aio::observable<std::size_t> lent_;
  std::vector<std::unique_ptr<connection>> idle_;
};

}  // namespace programs
