// SPDX-License-Identifier: MIT
#pragma once

// The state of a task with its result, in the block of memory around the coroutine's frame.

#include "aio/config.hpp"

#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>
#include <source_location>
#include <type_traits>
#include <utility>

#include "aio/detail/cancel_walk.hpp"
#include "aio/detail/frame.hpp"
#include "aio/detail/frame_pool.hpp"
#include "aio/detail/future_core.hpp"
#include "aio/detail/nested_drop.hpp"
#include "aio/detail/scheduler.hpp"
#include "aio/detail/task_core.hpp"
#include "aio/error.hpp"
#include "aio/fwd.hpp"
#pragma GCC visibility push(default)

namespace aio::inline AIO_ABI {

/// Whether A is a task of any kind.
template <class A>
inline constexpr bool is_task = false;
template <class T>
inline constexpr bool is_task<task<T>> = true;

}  // namespace aio::inline AIO_ABI

namespace aio::inline AIO_ABI::detail {

/// What stands in the block for a result.
template <class T>
struct stored_result {
  using type = std::conditional_t<(alignof(T) > frame_alignment), std::unique_ptr<T>, T>;
};
template <>
struct stored_result<void> {
  using type = char;
};
template <class T>
struct stored_result<T&> {
  using type = T*;
};
template <class T>
struct stored_result<T&&> {
  using type = T*;
};

/// The block of memory around a frame.
template <class T>
struct block_layout {
  using stored = typename stored_result<T>::type;

  static constexpr bool in_place = std::is_same_v<stored, T>;
  static constexpr std::size_t value_size =
      std::is_void_v<T> ? 0 : (sizeof(stored) + frame_alignment - 1) / frame_alignment * frame_alignment;
  // So that the frame is aligned; nothing on 64-bit systems.
  static constexpr std::size_t padding =
      (frame_alignment - (sizeof(task_core) + sizeof(frame_base)) % frame_alignment) % frame_alignment;
  static constexpr std::size_t core_offset = value_size + padding;
  static constexpr std::size_t base_offset = core_offset + sizeof(task_core);
  static constexpr std::size_t header_size = base_offset + sizeof(frame_base);
  static_assert(header_size % frame_alignment == 0);

  static void* start(frame_base& base) noexcept {
    return reinterpret_cast<char*>(&base) - base_offset;
  }
  static void* core_storage(frame_base& base) noexcept {
    return reinterpret_cast<char*>(&base) - sizeof(task_core);
  }
  static stored& slot(frame_base& base) noexcept {
    return *std::launder(static_cast<stored*>(start(base)));
  }

  template <class... Args>
  static void emplace(frame_base& base, Args&&... args) {
    if constexpr (!std::is_trivially_destructible_v<stored>) {
      if (base.has_value) [[unlikely]]
        drop_value(base);
    }
    if constexpr (in_place) {
      ::new (start(base)) T(std::forward<Args>(args)...);
    } else if constexpr (std::is_reference_v<T>) {
      static_assert(sizeof...(Args) == 1);
      ::new (start(base)) stored(std::addressof(args)...);
    } else {
      ::new (start(base)) stored(new T(std::forward<Args>(args)...));
    }
    base.has_value = true;
  }

  /// The value as an lvalue. Requires: base.has_value.
  static std::add_lvalue_reference_t<T> value(frame_base& base) noexcept {
    if constexpr (std::is_void_v<T>) {
      return;
    } else if constexpr (in_place) {
      return slot(base);
    } else {
      return *slot(base);
    }
  }

  AIO_ALWAYS_INLINE static void free(frame_base& base) noexcept {
    base.destroy_frame();
    if (base.error) [[unlikely]]
      base.error = nullptr;
    free_ended(base);
  }
  /// The same of a coroutine that did not begin, whose arguments may be others.
  static void drop_unstarted(frame_base& base) noexcept {
    struct dropped : nested_drop {
      explicit dropped(frame_base& of) noexcept : nested_drop(&free_frame), frame(&of) {}
      static void free_frame(nested_drop& self) noexcept { block_layout::free(*static_cast<dropped&>(self).frame); }
      frame_base* frame;
    };
    static_assert(sizeof(dropped) <= sizeof(task_core) && alignof(dropped) <= alignof(task_core));
    (::new (core_storage(base)) dropped(base))->run();
  }
  /// free(). Requires: nothing lives in the frame, and its error was taken.
  AIO_ALWAYS_INLINE static void free_ended(frame_base& base) noexcept {
    if constexpr (!std::is_trivially_destructible_v<stored>) {
      if (base.has_value) std::destroy_at(std::addressof(slot(base)));
    }
    frame_pool::deallocate_class(start(base), base.block_class);
  }

 private:
  // Of a co_return whose scope was left by an exception of a destructor, which the coroutine caught.
  AIO_NEVER_INLINE static void drop_value(frame_base& base) noexcept {
    base.has_value = false;
    std::destroy_at(std::addressof(slot(base)));
  }
};

/// The task_core of a coroutine that returns T.
template <class T>
class task_state final : public task_core {
 public:
  using layout = block_layout<T>;
  using task_core::task_core;

  /// That of a frame which was started.
  static task_state& of(frame_base& frame) noexcept {
    return *std::launder(static_cast<task_state*>(layout::core_storage(frame)));
  }

  /// Requires: state() == future_state::value.
  std::add_lvalue_reference_t<T> value() noexcept { return layout::value(base()); }

  /// release() of a task that is done and has no error that nobody read.
  AIO_ALWAYS_INLINE void release_read() noexcept {
    if (this->count_here(-1) == 0) [[likely]]
      dispose_here();
  }

 private:
  frame_base& base() noexcept { return *reinterpret_cast<frame_base*>(this + 1); }

  // Not inlined into a guess of which task it is: that takes longer than the call.
  [[gnu::noinline]] void dispose() noexcept override {
    dispose_here();
  }
  AIO_ALWAYS_INLINE void dispose_here() noexcept {
    AIO_ASSERT(base().phase == frame_phase::gone && !base().error);
    if (has_members()) [[unlikely]] {
      dispose_of_all();
    } else {
      layout::free_ended(base());
    }
  }
  AIO_NEVER_INLINE void dispose_of_all() noexcept {
    destroy_members();
    layout::free_ended(base());
  }
};

/// What the rest of aio may do with a task.
struct task_access {
  /// The frame of a task that is about to be awaited, or started. Throws usage_error.
  template <class T>
  static frame_base& release(task<T>& from) {
    if (!from.frame_) [[unlikely]]
      refuse_used();
    return *std::exchange(from.frame_, nullptr);
  }

  template <class T>
  static task<T> adopt(frame_base& frame) noexcept {
    return task<T>(frame);
  }

  /// The frame, or null if there is none any more. To be started or adopted.
  template <class T>
  static frame_base* take(task<T>&& from) noexcept {
    return std::exchange(from.frame_, nullptr);
  }

  // All that follow make a task of `from` that `on` runs from its next iteration on. It begins with
  // the loop's handle and, where there are two, one for the caller.

  /// With two handles. If it is `eager`, it runs from start_now() on.
  template <class T>
  static task_state<T>& start(scheduler& on, task<T>&& from, std::source_location created,
                              bool eager, std::unique_ptr<task_extras> extras) {
    std::uint64_t const number = task_core::next_number();
    frame_base& frame = release(from);
    return start_as<T>(on, frame, created, eager, extras.release(), number, nullptr, 2);
  }
  template <class T>
  AIO_ALWAYS_INLINE static task_state<T>& start(scheduler& on, task<T>&& from, std::source_location created,
                                                task_owner* expected_by = nullptr, std::int32_t handles = 1) {
    if (!from.frame_) [[unlikely]]
      refuse_used();
    task_state<T>& started = start_frame<T>(on, *from.frame_, created, expected_by, handles);
    from.frame_ = nullptr;
    return started;
  }
  /// The same for what take() gave, which is somebody else's until this returns.
  template <class T>
  AIO_ALWAYS_INLINE static task_state<T>& start_frame(scheduler& on, frame_base& frame, std::source_location created,
                                                      task_owner* expected_by, std::int32_t handles) {
    task_extras* const extras = task_core::inherit();
    return start_as<T>(on, frame, created, false, extras, task_core::next_number(), expected_by, handles);
  }

  /// The same for one that runs from start_now() on, and has no owner yet.
  template <class T>
  static void make_eager(scheduler& on, frame_base& frame, std::source_location created, std::int32_t handles) {
    task_extras* const extras = task_core::inherit();
    start_as<T>(on, frame, created, true, extras, task_core::next_number(), nullptr, handles);
  }

  /// The same for one of several. Requires: there is nothing to inherit.
  template <class T>
  AIO_ALWAYS_INLINE static void start_frame(task_core::batch& batch, scheduler& on, frame_base& frame,
                                            std::source_location created, task_owner* expected_by,
                                            std::int32_t handles) noexcept {
    batch.enlist(*::new (block_layout<T>::core_storage(frame)) task_state<T>(on, created, nullptr, batch.next_number(),
                                                                             expected_by, handles));
  }

  template <class T>
  static std::source_location function(task<T> const& of) noexcept {
    return of.frame_ ? of.frame_->where : std::source_location();
  }

 private:
  template <class T>
  AIO_ALWAYS_INLINE static task_state<T>& start_as(scheduler& on, frame_base& frame,
                                                   std::source_location created, bool eager, task_extras* extras,
                                                   std::uint64_t number, task_owner* expected_by,
                                                   std::int32_t handles) noexcept {
    static_assert(sizeof(task_state<T>) == sizeof(task_core));
    auto* const made =
        ::new (block_layout<T>::core_storage(frame)) task_state<T>(on, created, extras, number, expected_by, handles);
    made->enlist(eager);
    return *made;
  }

  [[noreturn]] AIO_NEVER_INLINE static void refuse_used() {
    throw usage_error("this task was awaited or moved away before: a task runs once; to await "
                      "one result several times use create_task and await its handle");
  }
};

}  // namespace aio::inline AIO_ABI::detail

#pragma GCC visibility pop
