// SPDX-License-Identifier: MIT
#pragma once

// The promise of aio's coroutines: how they begin, await, end, and are thrown out.

#include "aio/config.hpp"

#include <concepts>
#include <coroutine>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <initializer_list>
#include <memory>
#include <new>
#include <source_location>
#include <string>
#include <type_traits>
#include <utility>

#include "aio/closure.hpp"
#include "aio/detail/awaiting.hpp"
#include "aio/detail/frame.hpp"
#include "aio/detail/frame_pool.hpp"
#include "aio/detail/scheduler.hpp"
#include "aio/detail/source_text.hpp"
#include "aio/detail/task_core.hpp"
#include "aio/detail/task_state.hpp"
#include "aio/error.hpp"
#pragma GCC visibility push(default)

namespace aio::inline AIO_ABI::detail {

class promise_base {
 public:
  promise_base(promise_base const&) = delete;
  promise_base& operator=(promise_base const&) = delete;

  std::suspend_always initial_suspend() const noexcept { return {}; }

  /// The coroutine does not stop there: the frame is taken down within the same call, what is
  /// left stands in the block before it.
  std::suspend_never final_suspend() const noexcept {
    frame_->phase = frame_phase::gone;
    if (frame_->continuation) frame_->task->loop().resume_next = frame_->continuation;
    return {};
  }

  void unhandled_exception() noexcept {
    bool const passes_on = (frame_->marks & frame_base::ends_awaiter) != 0;
    frame_->set_ended(handling_cancellation());
    frame_->error = std::current_exception();
    detail::note_end(*frame_);
    if (passes_on) frame_->continuation = detail::pass_error_on(*frame_, true);
  }

  template <class A>
  auto await_transform(A&& awaited, calling_place at = AIO_CALLER) {
    using type = std::remove_cvref_t<A>;
    AIO_REFUSE_MADE_INSIDE(A);
    // NOLINTNEXTLINE(clang-analyzer-core.CallAndMessage): the analyser makes no promises of coroutines
    frame_->where = place_of(at);
    if constexpr (is_task<type>) {
      static_assert(!std::is_lvalue_reference_v<A>,
                    "a task is awaited once and as an rvalue: write co_await std::move(t), or "
                    "await the call itself, co_await f(x)");
      return attached<child_awaiter<typename type::value_type>>(*frame_, [&] {
        return child_awaiter<typename type::value_type>(static_cast<type&&>(awaited));
      });
    } else if constexpr (self_suspending<type>) {
      awaited.suspend_in(*frame_);
      return suspended();
    } else if constexpr (attachable<type>) {
      awaited.attach(*frame_);
      return attached_reference<type>(awaited);
    } else if constexpr (standard_awaitable<A>) {
      return attach([&]() -> decltype(auto) { return detail::awaiter_of(static_cast<A&&>(awaited)); });
    } else {
      refuse<type>();
      return std::suspend_never();
    }
  }

  template <class Y>
  std::suspend_never yield_value(Y&&) {
    static_assert(always_false<Y>,
                  "a task yields nothing: make it an aio::async_generator<T>; its clean-up is co_await "
                  "aio::on_exit(...)");
    return {};
  }

 protected:
  explicit promise_base(frame_base& frame) noexcept : frame_(&frame) {}

  AIO_COLD AIO_NEVER_INLINE static void refuse_end(frame_base& frame) noexcept {
    try {
      std::string text = "the coroutine ";
      text.append(detail::coroutine_name(frame.where.function_name()));
      text.append(" ended without a co_return; the last line that is known: ");
      text.append(frame.where.file_name()).append(":").append(std::to_string(frame.where.line()));
      throw usage_error(text);
    } catch (...) {
      frame.error = std::current_exception();
    }
    detail::note_end(frame);
  }

  frame_base* frame_;

 private:
  template <class Make>
  auto attach(Make make) {
    using made = decltype(make());
    if constexpr (attachable<std::remove_reference_t<made>>) {
      return attached<made>(*frame_, make);
    } else {
      return foreign_awaiter<made>(*frame_, make);
    }
  }

  template <class A>
  static constexpr void refuse() {
    if constexpr (looks_like_asio_awaitable<A>) {
      static_assert(always_false<A>,
                    "an asio::awaitable is awaited as an rvalue, where aio/awaitable.hpp is included: "
                    "write co_await f(), or co_await std::move(a)");
    } else if constexpr (duration_like<A>) {
      static_assert(always_false<A>, "a duration cannot be awaited: write co_await "
                                     "aio::sleep_for(d)");
    } else if constexpr (std::is_invocable_v<A>) {
      static_assert(always_false<A>, "a function cannot be awaited: call it, co_await f()");
    } else {
      static_assert(always_false<A>,
                    "this type cannot be awaited: it is neither a task nor a handle, future or "
                    "awaitable, nor an Asio operation with aio::use_awaitable as its token");
    }
  }
};

/// An array of what a view has elements of.
template <class T>
using array_for = std::remove_cvref_t<decltype(*std::declval<T const&>().data())>[1];

template <class T>
concept has_elements = requires(T const& view) {
  { view.data() } -> std::convertible_to<void const*>;
  view.size();
};

/// What shows the elements of another object, and does not own them.
template <class T>
concept refers_to_elements = std::is_trivially_destructible_v<T> && has_elements<T> &&
                             (std::is_convertible_v<array_for<T>&, T> ||
                              std::is_constructible_v<T, decltype(std::declval<T const&>().data()), std::size_t>);

/// Whether a result of type T, made of an rvalue U, refers into what goes at the end of the coroutine:
/// the compiler gives local variables as rvalues.
template <class T, class U>
inline constexpr bool dangles =
    !std::is_lvalue_reference_v<U> &&
    ((std::is_lvalue_reference_v<T> && !std::is_function_v<std::remove_reference_t<T>>) ||
     (refers_to_elements<T> && !std::is_trivially_destructible_v<U> && requires(U& owner) {
       owner.data();
       owner.size();
     }));

template <class T>
class promise_with_result : public promise_base {
 public:
  using promise_base::promise_base;

  template <class U = T>
    requires std::is_convertible_v<U&&, T> || std::is_constructible_v<T, U&&>
  void return_value(U&& value) {
    static_assert(!dangles<T, U>,
                  "the result refers to a local variable or a temporary of the coroutine, which is gone when it is "
                  "read: return the value itself, as in aio::task<std::string>");
    block_layout<T>::emplace(*frame_, static_cast<U&&>(value));
  }

  /// As that of the base. What got here with neither a value nor an error left the body without a co_return.
  std::suspend_never final_suspend() const noexcept {
    if (!frame_->has_value && !frame_->error) [[unlikely]]
      refuse_end(*frame_);
    return promise_base::final_suspend();
  }
};

template <>
class promise_with_result<void> : public promise_base {
 public:
  using promise_base::promise_base;
  void return_void() const noexcept {}
};

template <class T>
class promise : public promise_with_result<T> {
  using layout = block_layout<T>;

 public:
  // That of promise_that_refers, which says later where the coroutine is.
  struct placed_later {};
  explicit promise(placed_later) : promise_with_result<T>(frame_base::of_promise(*this)) {}

  // The default argument names the coroutine: reports say which one was never awaited.
  // NOLINTNEXTLINE(google-explicit-constructor): compilers call it
  promise(calling_place at = AIO_CALLER)
      : promise_with_result<T>(frame_base::of_promise(*this)) {
    this->frame_->where = place_of(at);
  }

  task<T> get_return_object() noexcept {
    this->frame_->phase = frame_phase::made;
#if defined(__clang__)
    // Hides the frame from the optimiser, which would put it into the caller's frame without
    // asking operator new for the block around it.
    asm volatile("" : "+r"(this->frame_));
#endif
    return task<T>(*this->frame_);
  }

  AIO_ALWAYS_INLINE static void* operator new(std::size_t frame_size) {
    std::size_t const size = layout::header_size + frame_size;
    void* const memory = frame_pool::allocate(size);
    return (::new (static_cast<char*>(memory) + layout::base_offset) frame_base(frame_pool::class_of(size),
                                                                                layout::header_size))
        ->prepare_frame();
  }
  // The block stays for whoever holds the task, unless an argument threw while it was copied.
  AIO_ALWAYS_INLINE static void operator delete(void* frame, std::size_t) noexcept {
    frame_base& base = frame_base::of_frame(frame);
    if (base.phase == frame_phase::being_made) [[unlikely]]
      discard(base);
  }

 private:
  AIO_NEVER_INLINE static void discard(frame_base& base) noexcept {
    frame_pool::deallocate_class(layout::start(base), base.block_class);
  }
};

// ---- arguments that may be gone when the coroutine begins

/// Whether a coroutine's parameter of type P refers to an object outside of its frame: by a reference, a
/// pointer, or a view.
template <class P>
constexpr bool parameter_refers() {
  if constexpr (std::is_reference_v<P>) {
    return !std::is_function_v<std::remove_reference_t<P>>;
  } else if constexpr (std::is_pointer_v<P>) {
    return !std::is_function_v<std::remove_pointer_t<P>>;
  } else if constexpr (std::is_class_v<P> && std::is_trivially_destructible_v<P> && !std::is_empty_v<P>) {
    return refers_to_elements<P>;
  } else {
    return false;
  }
}

/// Whether there is something to read in an object of type A. A lambda's own type may be incomplete
/// inside of the lambda, where the traits of the coroutine are asked for; not where this is.
template <class A>
constexpr bool has_contents() {
  // NOLINTNEXTLINE(bugprone-sizeof-expression): whether it is complete
  if constexpr (std::is_class_v<A> && requires { sizeof(A); }) {
    return !std::is_empty_v<A>;
  } else {
    return !std::is_function_v<A>;
  }
}

/// Which of its parameters a coroutine has by reference: the first is the lowest bit, above the last
/// there is one more. 0 if none refers to anything, or if there are too many.
template <class... Parameters>
constexpr std::uint32_t references_among() {
  if constexpr (AIO_WATCH_REFERENCES && sizeof...(Parameters) < 32 && (detail::parameter_refers<Parameters>() || ...)) {
    std::uint32_t bits = 0;
    std::uint32_t bit = 1;
    ((bits |= std::is_reference_v<Parameters> && detail::parameter_refers<Parameters>() ? bit : 0, bit <<= 1), ...);
    return bits | bit;
  } else {
    return 0;
  }
}

/// The object outside of the frame that a coroutine's argument refers to; null if there is none, or nothing in it.
template <class Argument>
void const volatile* where_it_leads(Argument& argument, bool by_reference) noexcept {
  if (by_reference) {
    // NOLINTNEXTLINE(bugprone-multi-level-implicit-pointer-conversion): only compared
    if constexpr (detail::has_contents<Argument>()) return std::addressof(argument);
  } else if constexpr (detail::parameter_refers<std::remove_cv_t<Argument>>()) {
    if constexpr (std::is_pointer_v<std::remove_cv_t<Argument>>) {
      return argument;
    } else {
      return std::as_const(argument).data();
    }
  }
  return nullptr;
}

/// The promise of a coroutine that is given references: in debug mode, it looks where they lead.
template <class T, std::uint32_t References>
class promise_that_refers final : public promise<T> {
 public:
  // Called with the parameters; by some compilers (Clang to 19) without the object of a lambda.
  template <class... Arguments>
  explicit promise_that_refers(Arguments&&... arguments) : promise<T>(typename promise<T>::placed_later()) {
    if constexpr ((detail::has_contents<std::remove_reference_t<Arguments>>() || ...)) {
      if (!scheduler::debug_in_use()) [[likely]]
        return;
      constexpr bool without_object = (References >> sizeof...(Arguments)) > 1;
      if constexpr (References >> unsigned(without_object) == (std::uint32_t{2} << sizeof...(Arguments)) - 1) {
        // All are references, as they are most often. Each function more would be compiled for every lambda.
        note({(std::bool_constant<detail::has_contents<std::remove_reference_t<Arguments>>()>::value
                   ? static_cast<void const volatile*>(std::addressof(arguments))
                   : nullptr)...});
      } else {
        [[maybe_unused]] std::uint32_t references = References >> unsigned(without_object);
        note({detail::where_it_leads(arguments, std::exchange(references, references >> 1) & 1)...});
      }
    }
  }

  task<T> get_return_object(calling_place at = AIO_CALLER) noexcept {
    this->frame_->where = place_of(at);
    return promise<T>::get_return_object();
  }

 private:
  AIO_COLD AIO_NEVER_INLINE void note(std::initializer_list<void const volatile*> objects) noexcept {
    for (void const volatile* const each : objects) {
      if (each && scheduler::note_reference(*this->frame_, each)) this->frame_->marks = frame_base::refers_to_step;
    }
  }
};

template <class T, std::uint32_t References>
struct promise_for {
  using type = promise_that_refers<T, References>;
};
template <class T>
struct promise_for<T, 0> {
  using type = promise<T>;
};

}  // namespace aio::inline AIO_ABI::detail

#pragma GCC visibility pop
