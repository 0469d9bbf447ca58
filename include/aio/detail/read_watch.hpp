// SPDX-License-Identifier: MIT
#pragma once

// A descriptor that tells a loop when it can be read. One class for all such, for with each more of Asio would be
// compiled in every program.

#include "aio/config.hpp"
#include "aio/detail/keywords_off.hpp"  // before Asio

#if defined(__unix__) || defined(__APPLE__)
#include <fcntl.h>
#include <unistd.h>

#include <memory>
#include <utility>

#include "aio/detail/asio/io_context.hpp"
#include "aio/detail/asio/posix/basic_stream_descriptor.hpp"
#endif

#include "aio/detail/system_calls.hpp"
#include "aio/system_error.hpp"
#pragma GCC visibility push(default)

namespace aio::inline AIO_ABI::detail {

#if defined(__unix__) || defined(__APPLE__)

/// Both ends do not wait, and are closed when the process becomes another program. False: `errno` says why not.
inline bool make_wake_up_pipe(owned_descriptor& read_end, owned_descriptor& write_end) noexcept {
  int ends[2];
#if defined(__linux__)
  if (::pipe2(ends, O_CLOEXEC | O_NONBLOCK) != 0) return false;
#else
  if (::pipe(ends) != 0) return false;
  for (int const end : ends) {
    detail::set_close_on_exec(end);
    ::fcntl(end, F_SETFL, O_NONBLOCK);
  }
#endif
  read_end = owned_descriptor(ends[0]);
  write_end = owned_descriptor(ends[1]);
  return true;
}

/// Threads: that of the context, which outlives it.
class read_watch {
 public:
  /// Plain pointers, for every program compiles it.
  struct reaction {
    void (*call)(void* to);
    void* to;
  };

  /// Takes `watched`. Throws: system_error if there is no descriptor left for what Asio needs itself, or it cannot
  /// wait for this one.
  read_watch(asio::io_context& context, owned_descriptor& watched, reaction on_readable)
      : shared_(std::make_shared<shared>(context, watched, on_readable)) {}
  read_watch(read_watch const&) = delete;
  read_watch& operator=(read_watch const&) = delete;
  ~read_watch() {
    shared_->tell.call = nullptr;  // Asio keeps it until the handler has run
    error_code ignored;
    (void)shared_->watched.close(ignored);
  }

  /// As soon as it can be read the reaction is called, once. After a disarm() that came too late it may be called once
  /// more than there were arm()s.
  void arm() {
    shared_->watched.async_wait(reader::wait_read, [keep = shared_](auto const& error) {
      if (!error && keep->tell.call) keep->tell.call(keep->tell.to);
    });
  }
  void disarm() noexcept {
    error_code ignored;
    (void)shared_->watched.cancel(ignored);
  }

  [[nodiscard]] int number() const noexcept { return shared_->watched.native_handle(); }

 private:
  using reader = asio::posix::basic_stream_descriptor<asio::io_context::executor_type>;
  struct shared {
    shared(asio::io_context& context, owned_descriptor& from, reaction on_readable)
        : watched(context, detail::waitable_number(from.get(), "event_loop")), tell(on_readable) {
      (void)from.release();
    }
    reader watched;
    reaction tell;
  };

  std::shared_ptr<shared> shared_;
};

#endif

}  // namespace aio::inline AIO_ABI::detail

#pragma GCC visibility pop

#include "aio/detail/keywords_back.hpp"
