// SPDX-License-Identifier: MIT
#pragma once

// Streams in memory, for tests of protocols: no sockets, no threads, and no time but what a test asks for.
//
//   auto [mine, theirs] = aio::testing::memory_streams();    // connected to each other
//   theirs.writer.write("+OK\r\n");
//   auto line = co_await mine.reader.readline();
//
//   aio::testing::memory_peer peer;                           // or one end, and the test is the other
//   auto [reader, writer] = peer.open();
//   peer.feed("half a li");
//   auto line = aio::create_task(read_command(reader));
//   co_await aio::sleep_for(0s);                              // it waits
//   peer.feed("ne\n");
//
//   using aio::testing::memory_path;                          // or a bad network
//   auto [mine, theirs] = aio::testing::memory_streams(memory_path().fragments(1), memory_path().latency(200ms));

#include "aio/config.hpp"
#include "aio/detail/keywords_off.hpp"  // before Asio

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <limits>
#include <memory>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "aio/detail/asio/buffer.hpp"

#include "aio/detail/keywords_back.hpp"

#include "aio/detail/scheduler.hpp"
#include "aio/event_loop.hpp"
#include "aio/sleep.hpp"
#include "aio/stream.hpp"
#include "aio/system_error.hpp"
#include "aio/transport.hpp"
#pragma GCC visibility push(default)

namespace aio::inline AIO_ABI::detail {

/// Bytes on their way in one direction.
struct memory_channel {
  static constexpr std::size_t any = (std::numeric_limits<std::size_t>::max)();

  std::string bytes;
  std::size_t capacity = 65536;  // so many may be on their way
  error_code error;         // of who receives, behind the bytes
  bool ended = false;            // by who sends
  bool refused = false;          // by who receives: it is gone
  transport_waiter receiver;
  transport_waiter sender;

  // What a memory_path makes of it.
  std::vector<std::size_t> fragments;  // so many are received before it is waited again; in turn
  std::size_t next_fragment = 0;
  std::size_t fragment_left = any;
  time_point::duration latency{};
  std::size_t late_bytes = 0;  // of the last ones so many have not arrived
  int late_ends = 0;           // or of `ended` and `error`
  std::size_t until_reset = any;
  std::weak_ptr<memory_channel> way_back;

  [[nodiscard]] std::size_t arrived() const noexcept { return bytes.size() - late_bytes; }
  [[nodiscard]] std::size_t receivable() const noexcept { return (std::min)(arrived(), fragment_left); }
  [[nodiscard]] bool end_there() const noexcept { return bytes.empty() && late_ends == 0 && (ended || error); }
  [[nodiscard]] bool something_there() const noexcept { return receivable() > 0 || end_there(); }
  void begin_fragment() noexcept {
    if (fragments.empty()) return;
    fragment_left = fragments[next_fragment];
    next_fragment = (next_fragment + 1) % fragments.size();
  }
  /// Calls `fn` of `self` when it arrives which is sent now. Throws: bad_alloc; usage_error where no loop runs.
  static void when_it_arrives(std::shared_ptr<memory_channel> const& self, void (*fn)(memory_channel&, std::size_t),
                              std::size_t count) {
    get_running_loop().call_later(self->latency, [self, fn, count] {
      fn(*self, count);
      self->tell_receiver();
    });
  }
  /// Sends as many bytes of `data` as there is room for, and gives how many.
  static std::size_t put(std::shared_ptr<memory_channel> const& self, std::string_view data) {
    std::size_t const room = self->capacity - (std::min)(self->capacity, self->bytes.size());
    std::size_t const count = (std::min)({room, data.size(), self->until_reset});
    if (count > 0) {
      self->bytes.reserve(self->bytes.size() + count);
      if (self->latency > time_point::duration::zero()) {
        when_it_arrives(self, [](memory_channel& at, std::size_t came) { at.late_bytes -= came; }, count);
        self->late_bytes += count;
      }
      self->bytes.append(data.substr(0, count));
    }
    if (self->until_reset != any) {
      self->until_reset -= count;
      if (self->until_reset == 0) break_off(self);
    }
    return count;
  }
  /// To be called behind a change of `ended` or `error`.
  static void put_end(std::shared_ptr<memory_channel> const& self) noexcept {
    if (self->latency > time_point::duration::zero() && scheduler::running()) {
      try {
        when_it_arrives(self, [](memory_channel& at, std::size_t) { --at.late_ends; }, 0);
        ++self->late_ends;
      } catch (...) {  // NOLINT(bugprone-empty-catch): without memory it arrives at once
      }
    }
    self->tell_receiver();
  }
  /// Ends both directions, behind what was sent.
  static void break_off(std::shared_ptr<memory_channel> const& self) noexcept {
    for (auto const& each : {self, self->way_back.lock()}) {
      if (!each) continue;
      each->error = aio::make_error_code(std::errc::connection_reset);
      each->refused = true;
      put_end(each);
      each->tell_sender();
    }
  }

  [[nodiscard]] bool room_there() const noexcept { return refused || bytes.size() < capacity; }
  void tell_receiver() {
    if (something_there()) std::exchange(receiver, {})();
  }
  void tell_sender() {
    if (room_there()) std::exchange(sender, {})();
  }
};

class memory_transport final : public transport {
 public:
  memory_transport(std::shared_ptr<memory_channel> in, std::shared_ptr<memory_channel> out) noexcept
      : in_(std::move(in)), out_(std::move(out)) {}
  ~memory_transport() override { close(true); }

  inline transferred receive(std::span<char> into) noexcept override;
  inline void wait_receive(transport_waiter waiter) override;
  inline transferred send(std::span<asio::const_buffer const> parts) noexcept override;
  inline void wait_send(transport_waiter waiter) override;
  inline error_code shut_down() noexcept override;
  inline void close(bool reset) noexcept override;

 private:
  std::shared_ptr<memory_channel> in_;
  std::shared_ptr<memory_channel> out_;
  bool closed_ = false;
};

}  // namespace aio::inline AIO_ABI::detail

namespace aio::inline AIO_ABI::testing {

struct memory_pair;

/// How bytes go from one end of a stream in memory to the other: as soon and as many as they can, unless it says
/// otherwise.
class memory_path {
 public:
  /// Whatever was sent together, of it so many bytes are received at most before the receiver has to wait for the next;
  /// or these numbers in turn. Throws: std::invalid_argument if one is 0.
  memory_path& fragments(std::size_t most) { return fragments(std::vector<std::size_t>{most}); }
  inline memory_path& fragments(std::vector<std::size_t> sizes);
  /// All arrives so much later than it was sent, by the time of the loop: bytes, the end, a reset. It is sent inside
  /// of a loop then. Throws: std::invalid_argument if it is not a number.
  template <class Rep, class Period>
  memory_path& latency(std::chrono::duration<Rep, Period> length) {
    latency_ = aio::detail::to_clock(length);
    return *this;
  }
  template <aio::detail::plain_number Number>
  memory_path& latency(Number) {
    AIO_REFUSE_NUMBER("latency", Number);
    return *this;
  }
  /// Behind so many bytes the connection is reset, for both ends and in both directions; with 0 when the first would be
  /// sent.
  memory_path& reset_after(std::size_t bytes) noexcept {
    until_reset_ = bytes;
    return *this;
  }
  /// So many bytes may be on their way, then the sender has to wait. Default: 65536.
  memory_path& capacity(std::size_t bytes) noexcept {
    capacity_ = bytes;
    return *this;
  }

 private:
  friend class memory_peer;
  friend memory_pair memory_streams(memory_path const& there, memory_path const& back, stream_options const& options);
  using channel = std::shared_ptr<aio::detail::memory_channel>;
  [[nodiscard]] inline channel make() const;
  /// Both directions.
  [[nodiscard]] static inline std::pair<channel, channel> make_both(memory_path const& there, memory_path const& back);

  std::vector<std::size_t> fragments_;
  time_point::duration latency_{};
  std::size_t until_reset_ = aio::detail::memory_channel::any;
  std::size_t capacity_ = 65536;
};

/// Two streams, each the peer of the other. `capacity`: so many bytes of one may be on their way, then it has to wait.
struct memory_pair {
  stream_pair first;
  stream_pair second;
};
[[nodiscard]] memory_pair memory_streams(std::size_t capacity = 65536, stream_options const& options = {});
/// The same, where `there` is the way from the first to the second, and `back` that of the answers.
[[nodiscard]] memory_pair memory_streams(memory_path const& there, memory_path const& back = {},
                                         stream_options const& options = {});

/// The peer of a stream, played by a test.
///
/// Threads: the loop's thread only. Lifetime: its stream may outlive it.
class memory_peer {
 public:
  /// What the stream sends has room.
  memory_peer() : memory_peer(memory_path(), memory_path().capacity(aio::detail::memory_channel::any)) {}
  /// With ways to the stream, and from it. Fragments of the second are nothing to take_sent().
  explicit memory_peer(memory_path const& to_stream, memory_path const& from_stream = {}) {
    auto both = memory_path::make_both(to_stream, from_stream);
    in_ = std::move(both.first);
    out_ = std::move(both.second);
  }

  /// The stream; once.
  [[nodiscard]] stream_pair open(stream_options const& options = {});
  /// What the stream stands on; once, and in place of open().
  [[nodiscard]] std::unique_ptr<transport> open_transport();

  /// Sends, whatever is on its way already. What is fed at once arrives at once, if the reader has room, and the way to
  /// it does not say otherwise.
  void feed(std::string_view bytes);
  void feed_eof();
  /// Whoever reads sees `error` behind what was fed.
  void fail(error_code error);
  /// As a peer that was killed: what the stream sends from now on is an error, too.
  void reset();

  /// What the stream has sent since it was asked last.
  [[nodiscard]] std::string take_sent();
  /// Whether the stream has sent its end; whether it was closed with a reset.
  [[nodiscard]] bool ended() const noexcept { return out_->ended && out_->late_ends == 0; }
  [[nodiscard]] bool was_reset() const noexcept {
    return out_->error == std::errc::connection_reset && out_->late_ends == 0;
  }
  /// How many bytes the stream may send before they are taken.
  void set_capacity(std::size_t bytes);

 private:
  std::shared_ptr<aio::detail::memory_channel> in_;  // of the stream
  std::shared_ptr<aio::detail::memory_channel> out_;
};

// ---------------------------------------------------------------- implementation

}  // namespace aio::inline AIO_ABI::testing

namespace aio::inline AIO_ABI::detail {

inline transferred memory_transport::receive(std::span<char> into) noexcept {
  if (std::size_t const there = in_->receivable(); there > 0) {
    std::size_t const count = in_->bytes.copy(into.data(), (std::min)(there, into.size()));
    in_->bytes.erase(0, count);
    if (in_->fragment_left != memory_channel::any) in_->fragment_left -= count;
    in_->tell_sender();
    return {count, {}};
  }
  if (in_->end_there()) return {0, in_->error};
  return {0, aio::make_error_code(std::errc::operation_would_block)};
}

// It is told in an iteration to come, as by the system: what is there already may not have been received.
inline void memory_transport::wait_receive(transport_waiter waiter) {
  in_->receiver = std::move(waiter);
  in_->begin_fragment();
  if (in_->something_there()) get_running_loop().call_soon([in = in_] { in->tell_receiver(); });
}

inline transferred memory_transport::send(std::span<asio::const_buffer const> parts) noexcept {
  if (!closed_ && out_->refused && out_->error) return {0, out_->error};  // it broke
  if (closed_ || out_->refused) return {0, aio::make_error_code(std::errc::broken_pipe)};
  std::size_t sent = 0;
  for (asio::const_buffer const each : parts) {
    try {
      sent += memory_channel::put(out_, {static_cast<char const*>(each.data()), each.size()});
    } catch (...) {
      break;
    }
    if (out_->refused) break;
  }
  if (sent == 0 && out_->refused) return {0, out_->error};
  if (sent == 0) return {0, aio::make_error_code(std::errc::operation_would_block)};
  out_->tell_receiver();
  return {sent, {}};
}

inline void memory_transport::wait_send(transport_waiter waiter) {
  out_->sender = std::move(waiter);
  if (out_->room_there()) get_running_loop().call_soon([out = out_] { out->tell_sender(); });
}

inline error_code memory_transport::shut_down() noexcept {
  out_->ended = true;
  memory_channel::put_end(out_);
  return {};
}

inline void memory_transport::close(bool reset) noexcept {
  if (std::exchange(closed_, true)) return;
  if (reset) out_->error = aio::make_error_code(std::errc::connection_reset);
  out_->ended = true;
  in_->refused = true;
  memory_channel::put_end(out_);
  in_->tell_sender();
  std::exchange(in_->receiver, {})();
  std::exchange(out_->sender, {})();
}

}  // namespace aio::inline AIO_ABI::detail

namespace aio::inline AIO_ABI::testing {

inline memory_path& memory_path::fragments(std::vector<std::size_t> sizes) {
  for (std::size_t const each : sizes) {
    if (each == 0) throw std::invalid_argument("a fragment needs at least 1 byte");
  }
  fragments_ = std::move(sizes);
  return *this;
}

inline memory_path::channel memory_path::make() const {
  auto made = std::make_shared<aio::detail::memory_channel>();
  made->fragments = fragments_;
  made->begin_fragment();
  made->latency = latency_;
  made->until_reset = until_reset_;
  made->capacity = capacity_;
  return made;
}

inline std::pair<memory_path::channel, memory_path::channel> memory_path::make_both(memory_path const& there,
                                                                                    memory_path const& back) {
  auto first = there.make();
  auto second = back.make();
  first->way_back = second;
  second->way_back = first;
  return {std::move(first), std::move(second)};
}

inline memory_pair memory_streams(std::size_t capacity, stream_options const& options) {
  memory_path const either = memory_path().capacity(capacity);
  return testing::memory_streams(either, either, options);
}
inline memory_pair memory_streams(memory_path const& there, memory_path const& back, stream_options const& options) {
  auto const [to, from] = memory_path::make_both(there, back);
  return {make_stream(std::make_unique<aio::detail::memory_transport>(from, to), options),
          make_stream(std::make_unique<aio::detail::memory_transport>(to, from), options)};
}

inline std::unique_ptr<transport> memory_peer::open_transport() {
  return std::make_unique<aio::detail::memory_transport>(in_, out_);
}
inline stream_pair memory_peer::open(stream_options const& options) { return make_stream(open_transport(), options); }

inline void memory_peer::feed(std::string_view bytes) {
  std::size_t const before = std::exchange(in_->capacity, aio::detail::memory_channel::any);
  try {
    (void)aio::detail::memory_channel::put(in_, bytes);
  } catch (...) {
    in_->capacity = before;
    throw;
  }
  in_->capacity = before;
  in_->tell_receiver();
}
inline void memory_peer::feed_eof() {
  in_->ended = true;
  aio::detail::memory_channel::put_end(in_);
}
inline void memory_peer::fail(error_code error) {
  in_->error = error;
  aio::detail::memory_channel::put_end(in_);
}
inline void memory_peer::reset() {
  out_->refused = true;
  fail(aio::make_error_code(std::errc::connection_reset));
  out_->tell_sender();
}
inline std::string memory_peer::take_sent() {
  std::string taken = out_->bytes.substr(0, out_->arrived());
  out_->bytes.erase(0, taken.size());
  out_->tell_sender();
  return taken;
}
inline void memory_peer::set_capacity(std::size_t bytes) {
  out_->capacity = bytes;
  out_->tell_sender();
}

}  // namespace aio::inline AIO_ABI::testing

#pragma GCC visibility pop
