// SPDX-License-Identifier: MIT
#pragma once

// The memory of a stream: what has arrived, and what is to be sent.

#include "aio/config.hpp"
#include "aio/detail/keywords_off.hpp"  // before Asio

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <new>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "aio/detail/asio/buffer.hpp"

#include "aio/detail/keywords_back.hpp"

#include "aio/detail/frame_pool.hpp"
#pragma GCC visibility push(default)

namespace aio::inline AIO_ABI::detail {

/// What has arrived: one block, which goes back when it is empty and more is waited for.
class input_buffer {
 public:
  input_buffer() noexcept = default;
  input_buffer(input_buffer const&) = delete;
  input_buffer& operator=(input_buffer const&) = delete;
  ~input_buffer() { give_back(); }

  [[nodiscard]] std::size_t size() const noexcept { return end_ - begin_; }
  [[nodiscard]] std::string_view view() const noexcept { return {block_ + begin_, size()}; }

  void consume(std::size_t count) noexcept {
    AIO_ASSERT(count <= size());
    begin_ += count;
    if (begin_ == end_) begin_ = end_ = 0;
  }
  void clear() noexcept { begin_ = end_ = 0; }

  /// How large the first block is; later ones are as large as what comes at once.
  void begin_with(std::size_t bytes) noexcept { first_ = static_cast<std::uint32_t>(bytes); }
  /// Room behind what is there, for a receive; the block grows up to `ceiling`, and beyond only if that is full.
  /// Throws: std::bad_alloc.
  std::span<char> room(std::size_t ceiling) {
    if (!block_) {
      grow((std::min)((std::max)(comes_at_once(), smallest), (std::max)(ceiling, smallest)));
    } else if (capacity_ - end_ < capacity_ / 4) {
      if (begin_ >= capacity_ / 2) {
        move_to_front();
      } else if (capacity_ < ceiling) {
        grow((std::min)(2 * capacity_, (std::max)(ceiling, smallest)));
      } else {
        move_to_front();
        if (end_ == capacity_) grow(2 * capacity_);
      }
    }
    return {block_ + end_, capacity_ - end_};
  }
  /// A receive put so many bytes there.
  void filled(std::size_t count) noexcept {
    end_ += count;
    came_at_once(end_ == capacity_ ? capacity_ : size(), capacity_);
  }
  /// How much that is, as far as is known, and then the room for it.
  [[nodiscard]] std::size_t comes_at_once() const noexcept { return first_; }
  void came_at_once(std::size_t count, std::size_t room) noexcept {
    bool const goes_on = count == room;
    if (goes_on) {  // more would have fitted in a larger one
      first_ = static_cast<std::uint32_t>((std::min)(2 * room, largest_first));
    } else if (count < room / 8 && !went_on_) {  // what follows a part that was full is no more than a rest
      first_ = static_cast<std::uint32_t>((std::min)(room / 2, largest_first));
    }
    went_on_ = goes_on;
  }
  /// Puts bytes in front of what is there, which were taken before. Throws: std::bad_alloc.
  void put_back(std::span<char const> bytes) {
    if (bytes.empty()) return;
    if (begin_ < bytes.size()) {
      std::size_t const needed = bytes.size() + size();
      std::size_t const capacity = needed > capacity_ ? (std::max)(needed, smallest) : capacity_;
      char* const larger = needed > capacity_ ? allocate(capacity) : block_;
      std::size_t const before = size();
      if (before > 0) std::memmove(larger + needed - before, block_ + begin_, before);
      if (larger != block_) {
        give_back();
        block_ = larger;
        capacity_ = capacity;
      }
      begin_ = bytes.size();
      end_ = needed;
    }
    begin_ -= bytes.size();
    std::memcpy(block_ + begin_, bytes.data(), bytes.size());
  }
  void give_back_if_empty() noexcept {
    if (begin_ == end_) give_back();
  }

 private:
  static constexpr std::size_t smallest = 4096;
  static constexpr std::size_t largest_first = 262144;

  static char* allocate(std::size_t size) { return static_cast<char*>(frame_pool::allocate(size)); }
  void give_back() noexcept {
    if (block_) frame_pool::deallocate(std::exchange(block_, nullptr), capacity_);
    begin_ = end_ = capacity_ = 0;
  }
  void move_to_front() noexcept {
    std::memmove(block_, block_ + begin_, size());
    end_ -= begin_;
    begin_ = 0;
  }
  void grow(std::size_t capacity) {
    char* const larger = allocate(capacity);
    std::size_t const left = size();
    if (left > 0) std::memcpy(larger, block_ + begin_, left);
    give_back();
    block_ = larger;
    capacity_ = capacity;
    end_ = left;
  }

  char* block_ = nullptr;
  std::size_t capacity_ = 0;
  std::size_t begin_ = 0;
  std::size_t end_ = 0;
  std::uint32_t first_ = smallest;  // how large a block begins: as much as comes at once
  bool went_on_ = false;            // the last receive was full
};

/// Bytes to be sent that stay where they are, and who waits until they are.
class borrowed_output {
 public:
  /// All of them were sent, or will not be.
  virtual void output_done() noexcept = 0;

 protected:
  ~borrowed_output() = default;
};

/// What is to be sent, in order: copies, strings that were given away, and what somebody lends.
class output_queue {
 public:
  output_queue() noexcept = default;
  output_queue(output_queue const&) = delete;
  output_queue& operator=(output_queue const&) = delete;
  ~output_queue() { clear(); }

  /// A part of the queue. One that is lent stands with whoever waits for it.
  class piece {
   public:
    piece() noexcept = default;
    piece(piece const&) = delete;
    piece& operator=(piece const&) = delete;

   protected:
    friend class output_queue;
    enum class kind : std::uint8_t {
      block,
      string,
      lent,
    };
    explicit piece(kind what) noexcept : what_(what) {}

    piece* next_ = nullptr;
    char const* data_ = nullptr;
    std::size_t size_ = 0;
    kind what_ = kind::lent;
  };
  class lent_piece : public piece {
   public:
    lent_piece() noexcept = default;
    /// Of the first that is not empty; the array stays, too.
    void lend(std::span<std::string_view const> parts, borrowed_output& to) noexcept {
      rest_ = parts;
      owner_ = &to;
      next_part();
    }
    [[nodiscard]] bool queued() const noexcept { return queued_; }
    [[nodiscard]] bool empty() const noexcept { return size_ == 0; }
    [[nodiscard]] std::size_t left() const noexcept {
      std::size_t all = size_;
      for (std::string_view const each : rest_) all += each.size();
      return all;
    }

   private:
    friend class output_queue;
    void next_part() noexcept {
      size_ = 0;
      while (size_ == 0 && !rest_.empty()) {
        data_ = rest_.front().data();
        size_ = rest_.front().size();
        rest_ = rest_.subspan(1);
      }
    }
    std::span<std::string_view const> rest_;
    borrowed_output* owner_ = nullptr;
    bool queued_ = false;
  };

  [[nodiscard]] bool empty() const noexcept { return first_ == nullptr; }
  /// Bytes in all.
  [[nodiscard]] std::size_t size() const noexcept { return size_; }

  /// Throws: std::bad_alloc; nothing is queued then.
  void append(std::string_view bytes) {
    block* tail = last_ && last_->what_ == piece::kind::block ? static_cast<block*>(last_) : nullptr;
    std::size_t const fits = tail ? (std::min)(tail->room(), bytes.size()) : 0;
    block* const further = fits < bytes.size() ? block::make(bytes.size() - fits) : nullptr;
    if (fits > 0) tail->add(bytes.substr(0, fits));
    if (further) {
      further->add(bytes.substr(fits));
      push(*further);
    }
    size_ += bytes.size();
  }
  void append(std::string&& bytes) {
    if (bytes.size() < worth_keeping) return append(std::string_view(bytes));
    size_ += bytes.size();
    push(*new string_piece(std::move(bytes)));
  }
  /// Requires: there is a byte.
  void append(lent_piece& lent) noexcept {
    lent.queued_ = true;
    size_ += lent.left();
    push(lent);
  }
  /// Copies what is left of it. Throws: std::bad_alloc; it is queued still then.
  void take_over(lent_piece& lent) {
    AIO_ASSERT(lent.queued_);
    block* const copy = block::make(lent.left());
    copy->add({lent.data_, lent.size_});
    for (std::string_view const each : lent.rest_) copy->add(each);
    piece** at = &first_;
    while (*at != &lent) at = &(*at)->next_;
    *at = copy;
    copy->next_ = lent.next_;
    if (last_ == &lent) last_ = copy;
    lent.queued_ = false;
  }

  /// The first bytes, for one call of the system; how many places of `parts` are used. `bytes`: so many they are.
  std::size_t gather(std::span<asio::const_buffer> parts, std::size_t& bytes) const noexcept {
    std::size_t used = 0;
    bytes = 0;
    auto const take = [&](char const* data, std::size_t size) {
      if (used == parts.size() || size == 0) return;
      parts[used++] = asio::const_buffer(data, size);
      bytes += size;
    };
    for (piece const* each = first_; each && used < parts.size(); each = each->next_) {
      take(each->data_, each->size_);
      if (each->what_ != piece::kind::lent) continue;
      for (std::string_view const part : static_cast<lent_piece const*>(each)->rest_) take(part.data(), part.size());
    }
    return used;
  }
  /// So many of them were sent.
  void sent(std::size_t count) noexcept {
    AIO_ASSERT(count <= size_);
    size_ -= count;
    while (count > 0 || (first_ && first_->size_ == 0)) {
      std::size_t const now = (std::min)(count, first_->size_);
      first_->data_ += now;
      first_->size_ -= now;
      count -= now;
      if (first_->size_ > 0) return;
      if (first_->what_ == piece::kind::lent) {
        static_cast<lent_piece*>(first_)->next_part();
        if (first_->size_ > 0) continue;
      }
      drop_first();
    }
  }
  /// Whoever lent something is told.
  void clear() noexcept {
    while (first_) drop_first();
    size_ = 0;
  }

 private:
  static constexpr std::size_t worth_keeping = 1024;  // of a string: shorter ones are copied

  class block final : public piece {
   public:
    static block* make(std::size_t least) {
      std::size_t const whole = (std::max)(least + sizeof(block), ordinary);
      return ::new (frame_pool::allocate(whole)) block(whole);
    }
    static void destroy(block* each) noexcept {
      std::size_t const whole = each->whole_;
      std::destroy_at(each);
      frame_pool::deallocate(each, whole);
    }
    [[nodiscard]] std::size_t room() const noexcept { return whole_ - sizeof(block) - used_; }
    void add(std::string_view bytes) noexcept {
      if (bytes.empty()) return;
      std::memcpy(storage() + used_, bytes.data(), bytes.size());
      used_ += bytes.size();
      size_ += bytes.size();
    }

   private:
    static constexpr std::size_t ordinary = 4096;

    explicit block(std::size_t whole) noexcept : piece(kind::block), whole_(whole) { data_ = storage(); }
    [[nodiscard]] char* storage() noexcept { return reinterpret_cast<char*>(this + 1); }
    std::size_t whole_;
    std::size_t used_ = 0;
  };
  class string_piece final : public piece {
   public:
    explicit string_piece(std::string&& bytes) noexcept : piece(kind::string), bytes_(std::move(bytes)) {
      data_ = bytes_.data();
      size_ = bytes_.size();
    }

   private:
    std::string bytes_;
  };

  void push(piece& last) noexcept {
    last.next_ = nullptr;
    (last_ ? last_->next_ : first_) = &last;
    last_ = &last;
  }
  void drop_first() noexcept {
    piece* const each = first_;
    first_ = each->next_;
    if (!first_) last_ = nullptr;
    switch (each->what_) {
      case piece::kind::block: return block::destroy(static_cast<block*>(each));
      case piece::kind::string: delete static_cast<string_piece*>(each); return;
      case piece::kind::lent:
        static_cast<lent_piece*>(each)->queued_ = false;
        static_cast<lent_piece*>(each)->owner_->output_done();
    }
  }

  piece* first_ = nullptr;
  piece* last_ = nullptr;
  std::size_t size_ = 0;
};

}  // namespace aio::inline AIO_ABI::detail

#pragma GCC visibility pop
