// SPDX-License-Identifier: MIT
#pragma once

// A connection: what its two ends, whoever waits at them, and its transport share.

#include "aio/config.hpp"
#include "aio/detail/keywords_off.hpp"  // before Asio

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <memory>
#include <new>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>

#include "aio/detail/asio/buffer.hpp"

#include "aio/detail/keywords_back.hpp"

#include "aio/detail/intrusive_list.hpp"
#include "aio/detail/leaf_waiter.hpp"
#include "aio/detail/loop_core.hpp"
#include "aio/detail/ready_queue.hpp"
#include "aio/detail/scheduler.hpp"
#include "aio/detail/scope_timer.hpp"
#include "aio/detail/state_ptr.hpp"
#include "aio/detail/stream_buffer.hpp"
#include "aio/error.hpp"
#include "aio/socket_address.hpp"
#include "aio/system_error.hpp"
#include "aio/transport.hpp"
#pragma GCC visibility push(default)

namespace aio::inline AIO_ABI::detail {

class stream_state;

/// Whoever reads from a stream: looks at what there is, and waits for more. The base of awaiters.
class read_operation : public leaf_waiter {
 public:
  bool await_ready();
  void await_suspend(std::coroutine_handle<>);

  bool cancel_wait(task_core& task, cancel_message const& message) override {
    return leaf_waiter::cancel_wait(task, message);
  }
  [[nodiscard]] inline std::string describe_wait(task_core const&) const override;

 protected:
  read_operation(state_ptr<stream_state> stream, char const* name) noexcept : stream_(std::move(stream)), name_(name) {}
  read_operation(read_operation&&) noexcept = default;
  ~read_operation();

  [[nodiscard]] stream_state& stream() const noexcept { return *stream_; }
  /// To begin await_resume() with: nobody reads any more. Throws what kept it from reading, or the cancellation.
  void finish();
  void end_reading() noexcept;
  /// Throws the error of the connection, if that is why there is no more.
  void throw_error() const;

  /// How large the buffer may be for it.
  // Said to be inline here already, as all its virtual functions: else programs without streams compile the class.
  [[nodiscard]] inline virtual std::size_t ceiling() const noexcept;

 private:
  friend class stream_state;

  /// Whether there is enough.
  virtual bool look() noexcept = 0;
  /// Receives; false: nothing has come. Throws: std::bad_alloc.
  inline virtual bool receive();
  /// Whether it is over, and need not wait.
  bool go_on();

  bool no_memory_ = false;
  state_ptr<stream_state> stream_;
  char const* name_;
};

struct stream_line_tag {};

/// Whoever waits at the end that is written to.
class write_operation : public leaf_waiter, public list_link<stream_line_tag> {
 public:
  bool cancel_wait(task_core& task, cancel_message const& message) override {
    if (!leaf_waiter::cancel_wait(task, message)) return false;
    leave_line();
    return true;
  }
  [[nodiscard]] inline std::string describe_wait(task_core const&) const override;

 protected:
  explicit write_operation(state_ptr<stream_state> stream) noexcept : stream_(std::move(stream)) {}
  write_operation(write_operation&&) noexcept = default;
  ~write_operation() { leave_line(); }

  [[nodiscard]] stream_state& stream() const noexcept { return *stream_; }
  /// Whether what it waits for is so, and others need not have a turn before.
  bool over_in_turn();
  /// Waits for that; or lets others run once, where over_in_turn() has found that it is their turn.
  void wait_or_let_others();
  void wait_in_line();
  void leave_line() noexcept {
    if (linked()) intrusive_list<write_operation, stream_line_tag>::remove(*this);
  }

 private:
  friend class stream_state;
  /// Whether what it waits for is so.
  virtual bool over() noexcept = 0;

  state_ptr<stream_state> stream_;
  bool turn_ = false;  // of others
};

/// As a node of the loop it is what flushes in the next iteration; from close() on, when nobody can write any more, the
/// timer that ends waiting for a flush.
class stream_state final : public transport_client, private scope_timer {
 public:
  static constexpr std::size_t default_limit = 65536;
  static constexpr std::size_t block_beyond_limit = 16384;
  static constexpr std::size_t flush_at = 65536;
  static constexpr std::size_t most_queued = 0xffffffff;  // marks beyond are this
  static constexpr std::size_t turn_at = 1048576;  // bytes without suspending, then others have a turn

  stream_state(loop_core& loop, std::unique_ptr<transport> below, std::size_t limit,
               std::chrono::nanoseconds linger) noexcept
      : scope_timer(&flush_later),
        loop_(loop),
        transport_(std::move(below)),
        limit_(limit),
        linger_(linger),
        serial_(loop.short_serial()) {}
  stream_state(stream_state const&) = delete;
  stream_state& operator=(stream_state const&) = delete;

  void retain() noexcept override { ++references_; }
  void release() noexcept override {
    if (--references_ == 0) delete this;
  }
  /// Counts the ends that the program has, see stream_half.
  void retain_half() noexcept {
    ++halves_;
    retain();
  }
  void release_half() noexcept {
    if (--halves_ == 0) abandoned();
    release();
  }
  /// Whoever has it decides what becomes of the connection, in place of the last end that goes.
  void keep_open(bool kept) noexcept { kept_open_ = kept; }
  [[nodiscard]] bool kept_open() const noexcept { return kept_open_; }
  /// Whether the program has an end of it.
  [[nodiscard]] bool has_ends() const noexcept { return halves_ > 0; }

  [[nodiscard]] loop_core& loop() const noexcept { return loop_; }
  [[nodiscard]] std::size_t limit() const noexcept { return limit_; }
  [[nodiscard]] std::chrono::nanoseconds linger() const noexcept { return linger_; }
  [[nodiscard]] transport* below() const noexcept { return closed_ ? nullptr : transport_.get(); }
  /// Before a call from the program. Throws: usage_error, where its loop does not run or is gone.
  void require_loop(char const* caller) const {
    if (!scheduler::is_open(&loop_, serial_)) [[unlikely]]
      refuse_loop(caller);
    loop_.check_thread(caller);
  }

  // ---- reading

  /// What there is, without what a view was given of before.
  [[nodiscard]] input_buffer& input() noexcept {
    if (viewed_ > 0) {
      input_.consume(viewed_);
      viewed_ = 0;
    }
    return input_;
  }
  /// The first bytes, good until the next call; they are consumed by it.
  [[nodiscard]] std::string_view view(std::size_t count) noexcept {
    viewed_ = count;
    return input_.view().substr(0, count);
  }
  /// Nothing more will come.
  [[nodiscard]] bool ended() const noexcept { return ended_ || closing_ || input_failed_; }
  [[nodiscard]] bool input_failed() const noexcept { return input_failed_; }
  /// What ended the connection.
  [[nodiscard]] error_code const& error() const noexcept { return error_; }

  void begin_reading(read_operation& operation, scheduler const& on) {
    if (&on != &loop_ || !scheduler::is_open(&loop_, serial_)) [[unlikely]]
      refuse_loop(operation.name_);
    if (reader_) [[unlikely]]
      refuse_reader(operation.name_);
    reader_ = &operation;
    (void)input();
  }
  void end_reading(read_operation& operation) noexcept {
    if (reader_ == &operation) reader_ = nullptr;
  }
  /// Whether a receive may bring something now.
  [[nodiscard]] bool may_receive() const noexcept { return hopeful_ && received_ < turn_at; }
  /// Receives into the buffer; false: nothing has come. Throws: std::bad_alloc.
  bool receive(std::size_t ceiling) {
    std::span<char> const room = input_.room(ceiling);
    transferred const got = transport_->receive(room);
    if (!take(got, room.size())) return false;
    input_.filled(got.bytes);
    return true;
  }
  /// The same into the caller's memory; how many.
  bool receive_into(std::span<char> room, std::size_t& bytes) noexcept {
    transferred const got = transport_->receive(room);
    bytes = got.bytes;
    return take(got, room.size());
  }
  /// Throws: std::bad_alloc.
  void wait_receive() {
    received_ = 0;
    if (receive_waits_) return;
    input_.give_back_if_empty();
    transport_->wait_receive(transport_waiter(*this, false));
    receive_waits_ = true;
  }
  void receive_ready() noexcept override {
    receive_waits_ = false;
    hopeful_ = true;
    if (!reader_ || !reader_->waiting()) return;
    read_operation& operation = *reader_;
    try {
      if (!operation.go_on()) return wait_receive();
    } catch (std::bad_alloc const&) {
      operation.no_memory_ = true;
    }
    operation.wake();
  }

  // ---- writing

  void require_writable(char const* caller) const {
    if (output_failed_ || closing_ || end_wanted_ || lent_ || !scheduler::is_open(&loop_, serial_)) [[unlikely]]
      refuse_output(caller);
    loop_.check_thread(caller);
  }
  /// Somebody sends by other means, and nobody else may meanwhile. Before: require_writable().
  void lend_output(bool lent) noexcept { lent_ = lent; }
  [[nodiscard]] bool output_lent() const noexcept { return lent_; }
  /// What whoever sends by other means has sent of it.
  void sent_elsewhere(std::size_t bytes) noexcept { sent_ = added(sent_, bytes); }
  [[nodiscard]] bool send_waits() const noexcept { return send_waits_; }
  /// Throws: std::bad_alloc.
  void wait_send() {
    transport_->wait_send(transport_waiter(*this, true));
    send_waits_ = true;
  }
  [[nodiscard]] output_queue& output() noexcept { return output_; }
  [[nodiscard]] bool output_failed() const noexcept { return output_failed_; }
  [[noreturn]] AIO_COLD AIO_NEVER_INLINE void throw_error() const { throw system_error(error_); }

  /// Something was queued.
  void written() noexcept {
    if (output_.size() >= flush_at) return flush();
    if (flush_queued_ || send_waits_) return;
    AIO_ASSERT(!closing_);
    flush_queued_ = true;
    retain();
    arm_now(loop_);
  }
  /// Sends what is queued, as far as the transport takes it.
  void flush() noexcept {
    forget_flush();
    while (!send_waits_ && !closed_ && !output_failed_) {
      if (output_.empty()) return drained();
      if (!send_some()) break;
    }
    if (output_failed_ && closing_) return finish(false);
    settle();
  }
  [[nodiscard]] bool paused() const noexcept { return paused_; }
  /// Whether others are to have a turn, since so much was sent without suspending; from the beginning then.
  bool take_turn() noexcept {
    if (sent_ < turn_at) return false;
    sent_ = 0;
    return true;
  }
  void suspended() noexcept { sent_ = 0; }
  void send_ready() noexcept override {
    send_waits_ = false;
    if (!closed_) flush();
  }
  [[nodiscard]] waitable const* waits_for(bool sends) const noexcept override {
    if (!sends) return reader_;
    return const_cast<write_line&>(line_).front();  // it is not changed
  }
  void join(write_operation& operation) noexcept { line_.push_back(operation); }

  void set_limits(std::size_t high, std::size_t low) noexcept {
    auto const small = [](std::size_t bytes) { return static_cast<std::uint32_t>((std::min)(bytes, most_queued)); };
    high_ = small(high);
    low_ = small(low);
    settle();
  }

  void end_output() noexcept {
    if (end_wanted_ || closing_) return;
    end_wanted_ = true;
    flush();
  }

  // ---- the end

  [[nodiscard]] bool closing() const noexcept { return closing_; }
  [[nodiscard]] bool closed() const noexcept { return closed_; }
  [[nodiscard]] bool timed_out() const noexcept { return timed_out_; }

  void close() noexcept {
    if (closing_ || !has_loop()) return;
    state_ptr<stream_state> const here = state_ptr<stream_state>::share(*this);
    closing_ = true;
    wake_reader();
    flush();
    if (closed_) return;
    become(&linger_over);
    try {
      arm(loop_, deadline_after_linger());
    } catch (...) {  // no memory for a timer
      return lost(aio::make_error_code(std::errc::not_enough_memory));
    }
    lingers_ = true;
    retain();
    loop_.linger_started();
  }
  void abort() noexcept {
    if (closed_ || !has_loop()) return;
    state_ptr<stream_state> const here = state_ptr<stream_state>::share(*this);
    closing_ = true;
    if (!error_ && !output_.empty()) {
      error_ = aio::make_error_code(std::errc::connection_aborted);
      output_failed_ = aborted_ = true;
    }
    finish(true);
  }
  [[nodiscard]] bool aborted() const noexcept { return aborted_; }
  /// What was to be sent is lost.
  void fail(error_code error) noexcept { lost(error); }

  [[nodiscard]] socket_address local_address() {
    keep_addresses();
    return about_ ? about_->local : socket_address();
  }
  [[nodiscard]] socket_address remote_address() {
    keep_addresses();
    return about_ ? about_->remote : socket_address();
  }
  /// The name that it was connected by, or none.
  [[nodiscard]] std::string host() const { return about_ ? about_->host : std::string(); }
  void set_host(std::string name) { about().host = std::move(name); }

  /// The transport and what has arrived, for what goes on with them; this is closed then. Throws: usage_error, if
  /// somebody waits, or something is not sent.
  std::unique_ptr<transport> take_transport(std::string& arrived);

 private:
  using write_line = intrusive_list<write_operation, stream_line_tag>;

  static void flush_later(ready_node* node) noexcept {
    auto& self = static_cast<stream_state&>(static_cast<scope_timer&>(*node));
    self.fired();
    self.flush_queued_ = false;
    if (!self.closed_) self.flush();
    self.release();
  }
  static void linger_over(ready_node* node) noexcept {
    auto& self = static_cast<stream_state&>(static_cast<scope_timer&>(*node));
    state_ptr<stream_state> const here = state_ptr<stream_state>::share(self);
    self.fired();
    self.timed_out_ = true;
    self.lost(aio::make_error_code(std::errc::timed_out));
  }

  ~stream_state() = default;

  /// Whether its loop is there still; else it has let the transport go, and this is closed.
  bool has_loop() noexcept {
    if (scheduler::is_open(&loop_, serial_)) return true;
    closed_ = closing_ = true;
    output_.clear();
    return false;
  }
  static std::uint32_t added(std::uint32_t count, std::size_t more) noexcept {
    return count + static_cast<std::uint32_t>((std::min)(more, turn_at));
  }
  /// What a receive brought; false: nothing.
  bool take(transferred const& got, std::size_t asked) noexcept {
    if (got.error) [[unlikely]] {
      hopeful_ = false;
      if (got.would_block()) return false;
      if (closing_) {
        ended_ = true;
        return true;
      }
      input_failed_ = true;
      fail_output(got.error);
      return true;
    }
    if (got.bytes == 0) ended_ = true;
    hopeful_ = got.bytes == asked;
    received_ = added(received_, got.bytes);
    return true;
  }
  void wake_reader() noexcept {
    if (reader_ && reader_->waiting()) reader_->wake();
  }

  /// False: not all was taken, or the connection is lost.
  bool send_some() noexcept {
    std::array<asio::const_buffer, 32> parts;  // NOLINT(cppcoreguidelines-pro-type-member-init)
    std::size_t bytes = 0;
    std::size_t const used = output_.gather(parts, bytes);
    transferred const gone = transport_->send(std::span(parts).first(used));
    if (gone.error && !gone.would_block()) {
      lost(gone.error);
      return false;
    }
    hopeful_ = false;  // an answer will not be there at once
    sent_ = added(sent_, gone.bytes);
    if (gone.bytes > 0) output_.sent(gone.bytes);
    if (gone.bytes == bytes) return true;
    wait_send_or_lose();
    return false;
  }
  void wait_send_or_lose() noexcept {
    try {
      wait_send();
    } catch (...) {
      lost(aio::make_error_code(std::errc::not_enough_memory));
    }
  }
  /// All that was queued is sent.
  void drained() noexcept {
    if (end_wanted_ && !end_sent_) {
      error_code const error = transport_->shut_down();
      if (error == std::errc::operation_would_block) {
        wait_send_or_lose();
        return settle();
      }
      end_sent_ = true;
      if (error && error != std::errc::not_connected) return lost(error);
    }
    if (closing_) {
      error_code const error = transport_->finish();
      if (error == std::errc::operation_would_block) return wait_send_or_lose();
      if (error) return lost(error);
      return finish(false);
    }
    settle();
  }
  /// The connection is lost for writing; what was read of it stays.
  void lost(error_code error) noexcept {
    if (closed_) return;
    fail_output(error);
    if (closing_) finish(true);
  }
  void fail_output(error_code error) noexcept {
    if (!error_) error_ = error;
    output_failed_ = true;
    output_.clear();
    settle();
  }
  void forget_flush() noexcept {
    if (!flush_queued_) return;
    flush_queued_ = false;
    disarm(loop_);
    release();  // never the last: whoever calls has one
  }
  /// Wakes those who wait for what is so now.
  void settle() noexcept {
    if (output_.size() > high_) {
      paused_ = true;
    } else if (output_.size() <= low_) {
      paused_ = false;
    }
    for (write_operation* each = line_.front(); each;) {
      write_operation* const behind = line_.after(*each);
      if (each->over()) {
        line_.remove(*each);
        each->wake();
      }
      each = behind;
    }
  }

  void finish(bool reset) noexcept {
    if (closed_) return;
    closed_ = true;
    forget_flush();
    output_.clear();
    transport_->close(reset);
    if (lingers_) {
      lingers_ = false;
      disarm(loop_);
      loop_.linger_finished();
      release();  // never the last, as there
    }
    wake_reader();
    settle();
  }
  /// Both ends are gone.
  void abandoned() noexcept {
    if (closed_ || closing_ || kept_open_) return;
    if (!has_loop()) return;
    std::size_t const unsent = output_.size();
    if (unsent == 0) return close();
    abort();
    report_unsent(unsent);
  }
  AIO_COLD AIO_NEVER_INLINE void report_unsent(std::size_t count) noexcept {
    try {
      std::string const text = "a stream went that was not closed: " + std::to_string(count) +
                               " bytes were not sent; call close(), and wait_closed() to know that they are";
      scheduler::report_to(&loop_, context_of(text.c_str(), nullptr));
    } catch (...) {
      scheduler::report_to(&loop_, context_of("a stream went that was not closed", nullptr));
    }
  }
  [[nodiscard]] time_point deadline_after_linger() const noexcept {
    time_point const now = loop_.now();
    return linger_ < (time_point::max)() - now ? now + linger_ : (time_point::max)();
  }
  /// What few ask for.
  struct information {
    socket_address local;
    socket_address remote;
    std::string host;
    bool has_addresses = false;
  };
  information& about() {
    if (!about_) about_ = std::make_unique<information>();
    return *about_;
  }
  void keep_addresses() {
    if (closed_ || (about_ && about_->has_addresses)) return;
    information& to = about();
    to.local = transport_->local_address();
    to.remote = transport_->remote_address();
    to.has_addresses = true;
  }

  [[noreturn]] AIO_COLD AIO_NEVER_INLINE void refuse_loop(char const* caller) const {
    throw usage_error(std::string(caller) + ": the stream belongs to an event loop that is closed, or not the one " +
                      "that runs here");
  }
  [[noreturn]] AIO_COLD AIO_NEVER_INLINE void refuse_reader(char const* caller) const {
    throw usage_error(std::string(caller) + ": another task waits in " + reader_->name_ + " of this stream");
  }
  [[noreturn]] AIO_COLD AIO_NEVER_INLINE void refuse_output(char const* caller) const {
    if (!scheduler::is_open(&loop_, serial_)) refuse_loop(caller);
    if (closing_) throw usage_error(std::string(caller) + ": the stream was closed");
    if (lent_) throw usage_error(std::string(caller) + ": a file is being sent, see sendfile()");
    if (end_wanted_) throw usage_error(std::string(caller) + ": nothing can be written behind write_eof()");
    throw_error();
  }

  // These fit into what alignment leaves of the base: there is a stream for each connection.
  bool hopeful_ : 1 = true;         // a receive may bring something at once
  bool receive_waits_ : 1 = false;  // the transport has a waiter
  bool send_waits_ : 1 = false;
  bool flush_queued_ : 1 = false;
  bool paused_ : 1 = false;
  bool ended_ : 1 = false;       // the peer has sent all
  bool input_failed_ : 1 = false;  // by error_
  bool output_failed_ : 1 = false;
  bool end_wanted_ : 1 = false;  // of what is sent
  bool end_sent_ : 1 = false;
  bool closing_ : 1 = false;
  bool closed_ : 1 = false;
  bool lingers_ : 1 = false;
  bool timed_out_ : 1 = false;
  bool aborted_ : 1 = false;
  bool kept_open_ : 1 = false;
  bool lent_ : 1 = false;  // see lend_output()
  std::uint32_t references_ = 0;
  loop_core& loop_;
  std::unique_ptr<transport> transport_;
  input_buffer input_;
  output_queue output_;
  read_operation* reader_ = nullptr;
  write_line line_;
  std::size_t viewed_ = 0;    // of the input, to be consumed
  std::size_t limit_;
  std::uint32_t high_ = 65536;
  std::uint32_t low_ = 16384;
  std::chrono::nanoseconds linger_;
  error_code error_;
  std::unique_ptr<information> about_;
  std::uint32_t halves_ = 0;
  std::uint32_t serial_;
  std::uint32_t received_ = 0;  // bytes since somebody suspended, as far as they matter
  std::uint32_t sent_ = 0;
};

/// One end of a connection, as the program has it.
class stream_half {
 public:
  stream_half() noexcept = default;
  explicit stream_half(stream_state& state) noexcept : state_(&state) { state.retain_half(); }
  stream_half(stream_half&& other) noexcept : state_(std::exchange(other.state_, nullptr)) {}
  stream_half& operator=(stream_half&& other) noexcept {
    stream_half before(std::move(other));
    std::swap(state_, before.state_);
    return *this;
  }
  ~stream_half() {
    if (state_) state_->release_half();
  }

  [[nodiscard]] stream_state& get(char const* caller) const {
    if (!state_) [[unlikely]]
      throw usage_error(std::string(caller) + ": the stream was moved away");
    return *state_;
  }
  [[nodiscard]] state_ptr<stream_state> share(char const* caller) const {
    return state_ptr<stream_state>::share(get(caller));
  }
  [[nodiscard]] stream_state* state() const noexcept { return state_; }

 private:
  stream_state* state_ = nullptr;
};

// ---- whoever reads

inline read_operation::~read_operation() {
  if (stream_) stream_->end_reading(*this);
}

inline std::string read_operation::describe_wait(task_core const&) const {
  std::string_view const name = name_;
  std::string text = "stream_reader::" + std::string(name.substr(0, name.find('(')));
  if (socket_address const peer = stream_->remote_address(); !peer.empty()) text += " from " + peer.to_string();
  return text;
}

inline std::string write_operation::describe_wait(task_core const&) const {
  socket_address const peer = stream_->remote_address();
  return peer.empty() ? std::string() : ", to " + peer.to_string();
}

inline bool read_operation::await_ready() {
  stream_->begin_reading(*this, loop());
  try {
    return go_on();
  } catch (...) {
    end_reading();
    throw;
  }
}

inline void read_operation::await_suspend(std::coroutine_handle<>) {
  try {
    stream_->wait_receive();
  } catch (...) {
    end_reading();
    throw;
  }
  suspend();
}

inline bool read_operation::go_on() {
  while (!look()) {
    if (stream_->ended()) return true;
    if (!stream_->may_receive() || !receive()) return false;
  }
  return true;
}

inline bool read_operation::receive() { return stream_->receive(ceiling()); }

inline std::size_t read_operation::ceiling() const noexcept {
  std::size_t const limit = stream_->limit();
  return limit + (std::min)(stream_state::block_beyond_limit, ~std::size_t{0} - limit);
}

inline void read_operation::finish() {
  end_reading();
  if (no_memory_) throw std::bad_alloc();
  check_cancelled();
}

inline void read_operation::end_reading() noexcept { stream_->end_reading(*this); }

inline void read_operation::throw_error() const {
  if (stream_->input_failed()) stream_->throw_error();
}

// ---- whoever writes

inline bool write_operation::over_in_turn() {
  if (!over()) return false;
  turn_ = !stream_->output_failed() && stream_->take_turn();
  return !turn_;
}

inline void write_operation::wait_or_let_others() {
  if (!turn_) return wait_in_line();
  suspend();
  if (waiting()) wake();
}

inline void write_operation::wait_in_line() {
  stream_->suspended();
  stream_->join(*this);
  suspend();
}

inline std::unique_ptr<transport> stream_state::take_transport(std::string& arrived) {
  if (reader_) throw usage_error("a stream is given away in which a task reads");
  flush();
  if (output_failed_) throw_error();
  if (!output_.empty() || !line_.empty() || lent_) {
    throw usage_error("a stream is given away of which something is not sent yet: co_await drain() until "
                      "write_buffer_size() is 0");
  }
  if (input_failed_) throw_error();
  if (closing_ || end_wanted_) throw usage_error("a stream is given away that was closed");
  arrived.assign(input().view());
  input_.clear();
  closed_ = closing_ = true;
  return std::move(transport_);
}

}  // namespace aio::inline AIO_ABI::detail

#pragma GCC visibility pop
