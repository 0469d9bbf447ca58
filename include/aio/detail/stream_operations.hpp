// SPDX-License-Identifier: MIT
#pragma once

// What is awaited at the ends of a stream, see stream_reader and stream_writer.

#include "aio/config.hpp"

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

#include "aio/detail/state_ptr.hpp"
#include "aio/detail/stream_buffer.hpp"
#include "aio/detail/stream_state.hpp"
#include "aio/error.hpp"
#include "aio/stream_error.hpp"
#include "aio/system_error.hpp"
#pragma GCC visibility push(default)

namespace aio::inline AIO_ABI::detail {

// ---- reading

/// Takes the first `count` bytes of what has arrived.
inline std::string take_bytes(stream_state& from, std::size_t count) {
  std::string taken(from.input().view().substr(0, count));
  from.input().consume(taken.size());
  return taken;
}

class read_to_end final : public read_operation {
 public:
  explicit read_to_end(state_ptr<stream_state> from) noexcept : read_operation(std::move(from), "read()") {}
  std::string await_resume() {
    finish();
    throw_error();
    return detail::take_bytes(stream(), stream().input().size());
  }

 private:
  bool look() noexcept override { return false; }
  std::size_t ceiling() const noexcept override { return ~std::size_t{0} / 2; }
};

class read_at_most final : public read_operation {
 public:
  read_at_most(state_ptr<stream_state> from, std::size_t most) noexcept
      : read_operation(std::move(from), "read()"), most_(most) {}
  std::string await_resume() {
    try {
      finish();
    } catch (...) {
      stream().input().put_back(own_);  // for who reads next
      throw;
    }
    if (!own_.empty()) return std::move(own_);
    if (most_ > 0 && stream().input().size() == 0) throw_error();
    return detail::take_bytes(stream(), most_);
  }

 private:
  // Where so much comes at once, it goes into the string that the caller will have.
  static constexpr std::size_t worth_receiving = 16384;

  bool look() noexcept override { return most_ == 0 || !own_.empty() || stream().input().size() > 0; }
  bool receive() override {
    std::size_t const room = (std::min)(most_, stream().input().comes_at_once());
    if (room < worth_receiving) return stream().receive(ceiling());
    bool something = false;
    std::size_t bytes = 0;
    auto const receive_into = [&](char* into, std::size_t size) noexcept {
      something = stream().receive_into({into, size}, bytes);
      return bytes;
    };
#if defined(__cpp_lib_string_resize_and_overwrite)
    own_.resize_and_overwrite(room, receive_into);
#else
    own_.resize(room);  // with zeros, which takes less than a copy
    own_.resize(receive_into(own_.data(), room));
#endif
    stream().input().came_at_once(bytes, room);
    if (bytes < room / 2) own_.shrink_to_fit();
    return something;
  }
  std::size_t ceiling() const noexcept override { return (std::max)(most_, read_operation::ceiling()); }

  std::size_t most_;
  std::string own_;
};

/// Into the caller's memory: `All`, until that is full, or what comes first.
template <bool All>
class read_into final : public read_operation {
 public:
  read_into(state_ptr<stream_state> from, std::span<char> into) noexcept
      : read_operation(std::move(from), All ? "readexactly()" : "read_some()"), into_(into) {}

  auto await_resume() {
    if constexpr (All) {
      try {
        finish();
      } catch (...) {
        put_back();
        throw;
      }
      if (got_ == into_.size()) return;
      if (stream().input_failed()) {
        put_back();
        throw_error();
      }
      throw incomplete_read_error(std::string(into_.data(), got_), into_.size());
    } else {
      finish();
      if (got_ == 0 && !into_.empty()) throw_error();
      return got_;
    }
  }
  waitable::late cancelled_after_wake(task_core&) noexcept override {
    return got_ == into_.size() || (!All && got_ > 0) ? waitable::late::keep : waitable::late::deliver;
  }

 private:
  bool look() noexcept override {
    input_buffer& from = stream().input();
    if (std::size_t const here = (std::min)(from.size(), into_.size() - got_); here > 0) {
      std::memcpy(into_.data() + got_, from.view().data(), here);
      from.consume(here);
      got_ += here;
    }
    return got_ == into_.size() || (!All && got_ > 0);
  }
  bool receive() override {
    std::size_t bytes = 0;
    bool const something = stream().receive_into(into_.subspan(got_), bytes);
    got_ += bytes;
    return something;
  }
  /// The task will not have what was received: who reads next does.
  void put_back() {
    stream().input().put_back(into_.first(got_));
    got_ = 0;
  }

  std::span<char> into_;
  std::size_t got_ = 0;
};

/// So many bytes: as a string, or a `View` of them.
template <bool View>
class read_exactly final : public read_operation {
 public:
  read_exactly(state_ptr<stream_state> from, std::size_t count) noexcept
      : read_operation(std::move(from), View ? "readexactly_view()" : "readexactly()"), count_(count) {}
  std::conditional_t<View, std::string_view, std::string> await_resume() {
    finish();
    if (stream().input().size() < count_) {
      throw_error();
      throw incomplete_read_error(detail::take_bytes(stream(), stream().input().size()), count_);
    }
    if constexpr (View) {
      return stream().view(count_);
    } else {
      return detail::take_bytes(stream(), count_);
    }
  }

 private:
  bool look() noexcept override { return stream().input().size() >= count_; }
  std::size_t ceiling() const noexcept override { return (std::max)(count_, read_operation::ceiling()); }
  std::size_t count_;
};

/// Looks for a separator, the first to end of several, within the limit: STR-13 to STR-21.
template <std::size_t Count>
class separator_search {
 public:
  explicit separator_search(std::array<std::string_view, Count> separators) noexcept : separators_(separators) {}

  /// Whether the search is over: it was found, or is too far.
  bool look(std::string_view in, std::size_t limit) noexcept {
    if (in.size() >= from_ + shortest()) {
      for (std::uint32_t which = 0; which < Count; ++which) {
        std::size_t const at = find(in, separators_[which]);
        if (at == std::string_view::npos) continue;
        std::size_t const ends = at + separators_[which].size();
        // Of those that end there the shortest counts.
        if (found() && (ends > end() || (ends == end() && at <= begin_))) continue;
        found_ = which;
        begin_ = at;
      }
      if (found()) {
        overrun_ = begin_ > limit;
        return true;
      }
      from_ = in.size() + 1 > longest() ? in.size() + 1 - longest() : 0;
      if (from_ > limit) {
        begin_ = from_;
        return overrun_ = true;
      }
    }
    return false;
  }
  /// Throws, if it is too far.
  void require_within(std::size_t limit) const {
    if (!overrun_) [[likely]]
      return;
    throw limit_overrun_error(found_ != none
                                  ? "Separator is found, but chunk is longer than limit " + std::to_string(limit)
                                  : "Separator is not found in " + std::to_string(begin_) +
                                        " bytes, and limit is " + std::to_string(limit) +
                                        ": raise it by limit(), or skip_until()",
                              begin_);
  }
  [[nodiscard]] bool found() const noexcept { return found_ != none && !overrun_; }
  [[nodiscard]] std::size_t begin() const noexcept { return begin_; }
  [[nodiscard]] std::size_t end() const noexcept { return begin_ + separators_[found_].size(); }
  [[nodiscard]] std::size_t longest() const noexcept {
    std::size_t most = 0;
    for (std::string_view const each : separators_) most = (std::max)(most, each.size());
    return most;
  }
  void again() noexcept { from_ = 0; }

 private:
  static constexpr std::uint32_t none = ~std::uint32_t{0};

  [[nodiscard]] std::size_t shortest() const noexcept {
    std::size_t least = ~std::size_t{0} / 2;
    for (std::string_view const each : separators_) least = (std::min)(least, each.size());
    return least;
  }
  [[nodiscard]] std::size_t find(std::string_view in, std::string_view what) const noexcept {
    return what.size() == 1 ? in.find(what.front(), from_) : in.find(what, from_);
  }

  std::array<std::string_view, Count> separators_;
  std::size_t from_ = 0;
  std::size_t begin_ = 0;
  std::uint32_t found_ = none;  // the index of a separator
  bool overrun_ = false;
};

enum class until_gives : std::uint8_t {
  string,      // with the separator
  line,        // the same; at the end what there is
  view,        // as the first
  line_view,   // without the end of the line; none at the end
};

template <std::size_t Count, until_gives Gives>
class read_until final : public read_operation {
 public:
  read_until(state_ptr<stream_state> from, char const* name, std::array<std::string_view, Count> separators) noexcept
      : read_operation(std::move(from), name), search_(separators) {}

  auto await_resume() {
    finish();
    search_.require_within(stream().limit());
    if constexpr (Gives == until_gives::line_view) {
      return line();
    } else {
      if (!search_.found()) return rest();
      if constexpr (Gives == until_gives::view) {
        return stream().view(search_.end());
      } else {
        return detail::take_bytes(stream(), search_.end());
      }
    }
  }

 private:
  bool look() noexcept override { return search_.look(stream().input().view(), stream().limit()); }

  auto rest() -> std::conditional_t<Gives == until_gives::view, std::string_view, std::string> {
    std::size_t const left = stream().input().size();
    if constexpr (Gives == until_gives::line) {
      if (left == 0) throw_error();
      if (!stream().input_failed()) return detail::take_bytes(stream(), left);
    }
    throw_error();
    throw incomplete_read_error(detail::take_bytes(stream(), left));
  }
  std::optional<std::string_view> line() {
    std::size_t const left = stream().input().size();
    if (!search_.found()) {
      throw_error();
      if (left == 0) return std::nullopt;
      return stream().view(left);
    }
    std::string_view line = stream().view(search_.end()).substr(0, search_.begin());
    if (!line.empty() && line.back() == '\r') line.remove_suffix(1);
    return line;
  }

  separator_search<Count> search_;
};

class read_more final : public read_operation {
 public:
  explicit read_more(state_ptr<stream_state> from) noexcept : read_operation(std::move(from), "fill()") {}
  bool await_resume() {
    finish();
    if (stream().input().size() > *before_) return true;
    if (*before_ > stream().limit()) {
      throw limit_overrun_error("fill(): more than the limit, " + std::to_string(stream().limit()) +
                                    " bytes, are there: consume() some",
                                *before_);
    }
    throw_error();
    return false;
  }

 private:
  bool look() noexcept override {
    std::size_t const now = stream().input().size();
    if (!before_) before_ = now;
    return now > *before_ || now > stream().limit();
  }
  std::optional<std::size_t> before_;
};

class read_past final : public read_operation {
 public:
  read_past(state_ptr<stream_state> from, std::string_view separator) noexcept
      : read_operation(std::move(from), "skip_until()"), search_({separator}) {}
  std::size_t await_resume() {
    finish();
    if (search_.found()) {
      drop(search_.end());
      return dropped_;
    }
    throw_error();
    throw incomplete_read_error(detail::take_bytes(stream(), stream().input().size()));
  }

 private:
  bool look() noexcept override {
    input_buffer& from = stream().input();
    if (search_.look(from.view(), ~std::size_t{0})) return true;  // it stays until nothing can cancel this any more
    std::size_t const kept = search_.longest() - 1;  // it may begin in these
    if (from.size() > kept) drop(from.size() - kept);
    search_.again();
    return false;
  }
  void drop(std::size_t count) noexcept {
    stream().input().consume(count);
    dropped_ += count;
  }
  separator_search<1> search_;
  std::size_t dropped_ = 0;
};

class read_eof final : public read_operation {
 public:
  explicit read_eof(state_ptr<stream_state> from) noexcept : read_operation(std::move(from), "wait_eof()") {}
  void await_resume() {
    finish();
    if (stream().input().size() > stream().limit()) {
      throw limit_overrun_error("wait_eof(): more than the limit, " + std::to_string(stream().limit()) +
                                    " bytes, came before the end",
                                stream().input().size());
    }
    throw_error();
  }

 private:
  bool look() noexcept override { return stream().input().size() > stream().limit(); }
};

// ---- writing

class drain_operation final : public write_operation {
 public:
  explicit drain_operation(state_ptr<stream_state> to) noexcept : write_operation(std::move(to)) {}

  bool await_ready() {
    stream().require_loop("drain()");
    stream().flush();
    return over_in_turn();
  }
  void await_suspend(std::coroutine_handle<>) { wait_or_let_others(); }
  void await_resume() {
    check_cancelled();
    if (stream().output_failed()) stream().throw_error();
  }

 private:
  bool over() noexcept override { return !stream().paused() || stream().output_failed() || stream().closed(); }
};

class send_operation final : public write_operation, private borrowed_output {
 public:
  send_operation(state_ptr<stream_state> to, std::string_view one) noexcept
      : write_operation(std::move(to)), one_(one), single_(true) {}
  send_operation(state_ptr<stream_state> to, std::span<std::string_view const> parts) noexcept
      : write_operation(std::move(to)), parts_(parts) {}
  // NOLINTBEGIN(bugprone-use-after-move): the base takes its own part
  send_operation(send_operation&& other) noexcept
      : write_operation(std::move(other)),
        borrowed_output(),
        one_(other.one_),
        parts_(other.parts_),
        single_(other.single_) {}
  // NOLINTEND(bugprone-use-after-move)
  ~send_operation() { let_go_of_memory(); }

  bool await_ready() {
    stream().require_writable("send()");
    lent_.lend(single_ ? std::span<std::string_view const>(&one_, 1) : parts_, *this);
    if (!lent_.empty()) {
      stream().output().append(lent_);
      stream().flush();
    }
    return over_in_turn();
  }
  void await_suspend(std::coroutine_handle<>) { wait_or_let_others(); }
  void await_resume() {
    if (task().cancel_delivered()) {
      let_go_of_memory();
      task().throw_cancelled();
    }
    if (stream().output_failed() && !sent_) stream().throw_error();
  }
  bool cancel_wait(task_core& task, cancel_message const& message) override {
    if (!write_operation::cancel_wait(task, message)) return false;
    let_go_of_memory();
    return true;
  }
  late cancelled_after_wake(task_core&) noexcept override { return lent_.queued() ? late::deliver : late::keep; }

 private:
  bool over() noexcept override { return !lent_.queued(); }
  void output_done() noexcept override { sent_ = lent_.empty(); }
  /// What is not sent yet is copied: the caller's memory is not used any more.
  void let_go_of_memory() noexcept {
    if (!lent_.queued()) return;
    try {
      stream().output().take_over(lent_);
    } catch (...) {  // a message is not to be cut in two without anybody hearing of it
      stream().fail(aio::make_error_code(std::errc::not_enough_memory));
    }
  }

  std::string_view one_;
  std::span<std::string_view const> parts_;
  output_queue::lent_piece lent_;
  bool single_ = false;
  bool sent_ = false;
};

class close_wait final : public write_operation {
 public:
  explicit close_wait(state_ptr<stream_state> of) noexcept : write_operation(std::move(of)) {}

  bool await_ready() {
    stream().require_loop("wait_closed()");
    return over();
  }
  void await_suspend(std::coroutine_handle<>) { wait_in_line(); }
  void await_resume() {
    check_cancelled();
    if (stream().timed_out()) throw timeout_error("wait_closed: the peer did not take all within the stream's linger");
    if (stream().output_failed() && !stream().aborted()) stream().throw_error();
  }

 private:
  bool over() noexcept override { return stream().closed(); }
};

}  // namespace aio::inline AIO_ABI::detail

#pragma GCC visibility pop
