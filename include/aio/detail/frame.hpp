// SPDX-License-Identifier: MIT
#pragma once

// A coroutine frame as aio sees it: where it begins, where it goes on, what it left behind.
//
// One block of memory holds, in this order,
//
//   the result | task_core (only used by frames that became tasks) | frame_base | the frame
//
// so that a task costs one allocation, and its result outlives its frame. All resuming and
// destroying of aio's frames goes through frame_base, never through a coroutine_handle that a
// compiler hands out: on g++ 12 those are wrong for some frames (see AIO_SHIFTED_FRAMES).

#include "aio/config.hpp"

#include <bit>
#include <coroutine>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <source_location>
#include <stdexcept>
#include <utility>
#pragma GCC visibility push(default)

namespace aio::inline AIO_ABI::detail {

class task_core;

inline constexpr std::size_t frame_alignment = 16;

// Where a function was called, as the default of one of its arguments. g++ would give a class there a
// place in every frame that awaits; a pointer is passed in a register. (Clang does well with the
// class, and calls the pointer's type private where <source_location> is precompiled.)
#if defined(__GNUC__) && !defined(__clang__)
using calling_place = decltype(__builtin_source_location());
inline std::source_location place_of(calling_place from) noexcept {
  static_assert(sizeof(calling_place) == sizeof(std::source_location));
  return std::bit_cast<std::source_location>(from);
}
#define AIO_CALLER __builtin_source_location()
#else
using calling_place = std::source_location;
inline std::source_location place_of(calling_place from) noexcept { return from; }
#define AIO_CALLER ::std::source_location::current()
#endif

/// How far a coroutine has come.
enum class frame_phase : std::uint8_t {
  being_made,  // arguments are copied into it; if that throws, its memory goes with the frame
  made,        // whoever holds the task frees the block
  entered,     // the body has begun
  cleaning_up, // nothing lives in the frame any more, and what the body gave to on_exit() is awaited
  ended,       // the body is over; what lives in the frame goes before anybody hears of it
  gone,        // nothing lives in the frame any more
};

/// Stands right in front of its frame, and has a size that asks for what is before it to be of
/// eight bytes more than a multiple of frame_alignment.
struct frame_base {
  /// Of a frame at so many bytes in its block.
  frame_base(std::size_t block_class_, std::size_t offset) noexcept
      : block_class(static_cast<std::uint16_t>(block_class_)),
        frame_offset(static_cast<std::uint16_t>(offset < frame_is_far ? offset : frame_is_far)),
        task(nullptr) {}

  std::source_location where = {};     // the co_await it is in; at first, the coroutine itself
  // Compilers clear these two at once. Were they not aligned to 16, an await would take half as long
  // again where a store straddles two cache lines.
  frame_base* continuation = nullptr;  // whom the trampoline resumes when this is done
  std::exception_ptr error;            // what the body ended with
  std::uint16_t block_class;   // of frame_pool
  std::uint16_t frame_offset;  // in the block, or frame_is_far
  frame_phase phase = frame_phase::being_made;
  bool has_value = false;  // the result was made
  std::uint8_t marks = 0;  // not bit-fields, which compilers begin with three instructions
  bool shifted = false;    // the compiler left a word in front of the frame's functions
  union {
    task_core* task;   // that runs this; null before it is awaited
    frame_base* self;  // this, while the promise looks for it: the last word before the frame
  };

  static constexpr std::size_t frame_is_far = 0xffff;

  // The marks:
  static constexpr std::uint8_t by_cancellation = 1;  // error is a cancelled_error; the only one then
  static constexpr std::uint8_t refers_to_step = 2;   // that made it, to its stack: scheduler::note_reference()
  static constexpr std::uint8_t ends_awaiter = 4;     // an error of it ends who awaits it, too: see end_in_error()
  static constexpr std::uint8_t runs_clean_up = 8;    // of the coroutine before it, see on_exit.hpp

  [[nodiscard]] bool ended_cancelled() const noexcept { return (marks & by_cancellation) != 0; }
  void set_ended(bool cancelled) noexcept { marks = static_cast<std::uint8_t>(cancelled); }

  [[nodiscard]] bool done() const noexcept { return phase >= frame_phase::ended; }

  /// The address that the frame's functions expect, and operator new returned.
  [[nodiscard]] void* frame() noexcept { return this + 1; }

  /// Goes through an integer: what operator new returned is all that Clang's sanitizer believes there to be.
  static frame_base& of_frame(void* frame) noexcept {
    return *reinterpret_cast<frame_base*>(reinterpret_cast<std::uintptr_t>(frame) - sizeof(frame_base));
  }

  AIO_ALWAYS_INLINE void resume() {
#if AIO_SHIFTED_FRAMES
    reinterpret_cast<void (*)(void*)>(functions()[0])(frame());
#else
    std::coroutine_handle<>::from_address(frame()).resume();
#endif
  }

  /// Destroys what lives in the frame; the block stays.
  AIO_ALWAYS_INLINE void destroy_frame() noexcept {
    if (phase != frame_phase::gone) [[unlikely]]
      destroy_what_is_left();
  }

  /// Finds the base from inside the constructor of a promise, once.
  template <class Promise>
  static frame_base& of_promise(Promise& promise) {
#if AIO_SHIFTED_FRAMES
    // The promise follows the two function pointers, which follow the base, or one word of
    // padding behind the base. operator new left the base's address in that word and in the
    // one before the frame, so it stands three words before the promise either way.
    void** const functions = reinterpret_cast<void**>(&promise) - 2;
    auto* const base = static_cast<frame_base*>(functions[-1]);
    void** const expected = static_cast<void**>(static_cast<void*>(base + 1));
    if (functions != expected) {
      if (functions != expected + 1) [[unlikely]] {
        throw std::logic_error(
            "aio: this compiler laid out a coroutine in a way that aio does not know; write "
            "`bool b = co_await x; if (b)` instead of `if (co_await x)`");
      }
      base->shifted = true;
    }
    base->task = nullptr;
    return *base;
#else
    return of_frame(std::coroutine_handle<Promise>::from_promise(promise).address());
#endif
  }

  /// Prepares the memory behind `this` for the compiler to build a frame in.
  void* prepare_frame() noexcept {
    void* const memory = frame();
#if AIO_SHIFTED_FRAMES
    self = this;
    *static_cast<void**>(memory) = this;
#endif
    return memory;
  }

 private:
  AIO_NEVER_INLINE void destroy_what_is_left() noexcept {
    if (std::exchange(phase, frame_phase::gone) == frame_phase::cleaning_up) return;
#if AIO_SHIFTED_FRAMES
    reinterpret_cast<void (*)(void*)>(functions()[1])(frame());
#else
    std::coroutine_handle<>::from_address(frame()).destroy();
#endif
  }

#if AIO_SHIFTED_FRAMES
  // How to resume and to destroy, right before the promise.
  [[nodiscard]] void** functions() noexcept {
    return static_cast<void**>(frame()) + (shifted ? 1 : 0);
  }
#endif
};

static_assert(offsetof(frame_base, task) + sizeof(void*) == sizeof(frame_base));

}  // namespace aio::inline AIO_ABI::detail

#pragma GCC visibility pop
