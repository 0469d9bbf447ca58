// SPDX-License-Identifier: MIT
#pragma once

// Coroutines that give several values, and may wait before each.
//
//   aio::async_generator<row> rows(database& db) {
//     // closed when the generator ends, however it ends; the clean-up is awaited
//     connection& link = co_yield aio::on_exit(co_await db.connect(), [](connection& c) { return c.close(); });
//     while (row* r = co_await link.fetch()) co_yield *r;
//   }
//
//   auto all = rows(db);
//   while (row* r = co_await all.next()) use(*r);
//
// Who may leave before the last value closes the generator, so that its clean-up is awaited:
//
//   co_await aio::with_closing(rows(db), [&](aio::async_generator<row>& all) -> aio::task<> {
//     row* const first = co_await all.next();
//     ...
//   });

#include "aio/config.hpp"

#include <coroutine>
#include <cstddef>
#include <exception>
#include <functional>
#include <memory>
#include <new>
#include <source_location>
#include <type_traits>
#include <utility>
#include <vector>

#include "aio/as_result.hpp"
#include "aio/closure.hpp"
#include "aio/detail/frame.hpp"
#include "aio/detail/frame_pool.hpp"
#include "aio/detail/nested_drop.hpp"
#include "aio/detail/scheduler.hpp"
#include "aio/detail/task_core.hpp"
#include "aio/error.hpp"
#include "aio/on_exit.hpp"
#include "aio/result.hpp"
#include "aio/task.hpp"
#pragma GCC visibility push(default)

namespace aio::inline AIO_ABI {

namespace detail {
template <class T>
class generator_promise;
template <class T>
class next_awaiter;
struct generator_state;
}  // namespace detail

/// A coroutine that yields values of type T, which the awaiting task asks for one by one.
///
/// It runs inside the task that awaits next(), as an awaited coroutine does, and only then.
/// Lifetime: owns the coroutine and its arguments, see task. Must not be moved or destroyed while
/// next() or aclose() is awaited. Where more than a hundred own each other, those further inside go
/// after the variables of those outside.
/// Threads: that of the loop.
/// asyncio: an asynchronous generator, into which nothing is sent.
template <class T>
class [[nodiscard("a generator does nothing until next() is awaited")]] async_generator {
  static_assert(!std::is_void_v<T>, "a generator of nothing has nothing to give: use a task");
  static_assert(!std::is_const_v<T>, "the values may be moved out, so they are not const");

 public:
  using promise_type = detail::generator_promise<T>;
  using value_type = std::remove_reference_t<T>;

  async_generator(async_generator&& other) noexcept : frame_(std::exchange(other.frame_, nullptr)) {}
  async_generator& operator=(async_generator&& other) noexcept {
    if (this != &other) {
      drop();
      frame_ = std::exchange(other.frame_, nullptr);
    }
    return *this;
  }
  /// Clean-up that was not awaited until then is lost, and the exception handler hears of it.
  ~async_generator() { drop(); }

  /// Runs the coroutine to its next value, and points to that until next() is awaited again; null
  /// at the end, and from then on. The value may be moved out.
  ///
  /// Suspends: while the coroutine waits for something.
  /// Cancelled: the cancellation is thrown where the coroutine waits, and ends it.
  /// Throws: what the coroutine throws, once its clean-up was awaited; usage_error while another
  /// next() is awaited, or when the generator was moved away.
  /// asyncio: __anext__, with null in place of StopAsyncIteration.
  [[nodiscard("co_await it: it points to the value, and is null at the end")]]
  detail::next_awaiter<T> next();

  /// Ends the coroutine where it stands, as if it threw there: destroys its variables, awaits what it
  /// gave to on_exit(), and destroys its arguments. next() gives null from then on. Without effect at
  /// the end.
  /// Throws: what the clean-up throws; usage_error while next() is awaited, or if the coroutine caught
  /// that with catch (...) and went on to another value. asyncio: aclose.
  [[nodiscard("co_await it")]] task<> aclose();

 private:
  friend promise_type;
  explicit async_generator(detail::frame_base& frame) noexcept : frame_(&frame) {}
  void drop() noexcept;

  detail::frame_base* frame_;  // null when moved away
};

/// Runs `body(generator)`, and closes the generator on every way out. Gives what the body returns.
/// asyncio: async with contextlib.aclosing(...).
template <class T, class Body>
[[nodiscard("co_await it: nothing runs before")]] auto with_closing(async_generator<T> generator,
                                                                    Body&& body);

// ---------------------------------------------------------------- implementation

namespace detail {

/// Thrown at the co_yield where a generator stands that is closed, so that its variables go before
/// its clean-up runs, and its arguments after. asyncio: GeneratorExit.
struct generator_exit {};

/// What a generator has beside its coroutine; lies in front of the frame_base.
struct generator_state : nested_drop {
  generator_state() noexcept : nested_drop(&free) {}

  // What an inner one leaves behind may refer to variables of the outer, which are to go later; so
  // many more than unstarted coroutines go by calls.
  static constexpr unsigned most_inside = 100;

  void* value = nullptr;  // what it yielded
  exit_list cleanups;
  // Runs the clean-up. Made together with the first one, so that the end cannot fail for want of
  // memory, and awaited there.
  std::unique_ptr<task<>> closer;
  frame_base* closing = nullptr;  // the closer's frame once it runs
  bool yielded = false;           // stands at a co_yield
  bool busy = false;              // next() or aclose() is awaited
  bool exiting = false;           // aclose() has it leave its body
  bool closed = false;

  static generator_state& of(frame_base& frame) noexcept {
    return *std::launder(reinterpret_cast<generator_state*>(&frame) - 1);
  }
  /// Bytes in front of it, so that the frame is aligned; none on 64-bit systems.
  static constexpr std::size_t padding() noexcept {
    return (frame_alignment - (sizeof(generator_state) + sizeof(frame_base)) % frame_alignment) % frame_alignment;
  }
  /// Whether there is clean-up that nobody has begun.
  [[nodiscard]] bool pending() const noexcept { return !cleanups.empty() && !closing; }

  // Both are templates because g++ compiles coroutines that are none also where nobody calls them.
  template <class = void>
  void add(std::unique_ptr<exit_entry> entry) {
    if (!closer) closer = std::make_unique<task<>>(run_cleanups<>(*this));
    cleanups.add(std::move(entry));
  }
  template <class = void>
  static task<> run_cleanups(generator_state& self) {
    std::exception_ptr error;
    while (!self.cleanups.empty()) {
      std::unique_ptr<exit_entry> last = self.cleanups.take_last();
      std::exception_ptr thrown;
      try {
        co_await last->run();
        last.reset();
      } catch (...) {
        thrown = std::current_exception();
      }
      if (!thrown) continue;
      detail::report_replaced(error);
      error = std::move(thrown);
    }
    if (error) std::rethrow_exception(error);
  }

  static void drop(frame_base& frame) noexcept {
    of(frame).run(frame.phase == frame_phase::made ? usual : most_inside);
  }
  static void free(nested_drop& state) noexcept {
    auto& self = static_cast<generator_state&>(state);
    frame_base& frame = *std::launder(reinterpret_cast<frame_base*>(&self + 1));
    frame.destroy_frame();
    if (self.closing) block_layout<void>::free(*self.closing);
    if (self.closer) self.closer->close();
    free_memory(frame);
  }
  static void free_memory(frame_base& frame) noexcept {
    generator_state& self = of(frame);
    std::size_t const block_class = frame.block_class;
    std::destroy_at(&frame);
    std::destroy_at(&self);
    frame_pool::deallocate_class(reinterpret_cast<char*>(&self) - padding(), block_class);
  }
};

/// Runs the generator inside the await of its consumer, as child_run does with a coroutine.
template <class T>
class next_awaiter {
 public:
  explicit next_awaiter(frame_base& generator) noexcept : frame_(generator) {}

  void attach(frame_base& consumer) noexcept { consumer_ = &consumer; }

  bool await_ready() {
    generator_state& state = generator_state::of(frame_);
    if (state.busy) {
      throw usage_error("next() or aclose() of this async_generator is awaited at the moment: one "
                        "at a time");
    }
    state.yielded = false;
    if (state.closed || frame_.done()) return true;
    state.busy = running_ = true;
    frame_.task = consumer_->task;
    frame_.continuation = nullptr;
    frame_.phase = frame_phase::entered;
    scheduler& on = frame_.task->loop();
    if (on.depth == max_depth) [[unlikely]] {
      frame_.continuation = consumer_;
      on.resume_next = &frame_;
      return false;
    }
    ++on.depth;
    frame_.resume();
    --on.depth;
    if (state.yielded) return true;
    if (frame_.done()) {
      if (!state.closing) return true;
      state.closing->continuation = consumer_;  // the trampoline has it
      return false;
    }
    frame_.continuation = consumer_;
    return false;
  }
  // Whoever ends the wait hands the consumer to the trampoline.
  void await_suspend(std::coroutine_handle<>) const noexcept {}

  typename async_generator<T>::value_type* await_resume() {
    generator_state& state = generator_state::of(frame_);
    if (!running_) return nullptr;
    state.busy = false;
    if (state.yielded) return static_cast<typename async_generator<T>::value_type*>(state.value);
    std::exception_ptr const error = std::exchange(frame_.error, nullptr);
    if (state.closing && state.closing->error) {
      detail::report_replaced(error);
      std::rethrow_exception(std::exchange(state.closing->error, nullptr));
    }
    if (error) std::rethrow_exception(error);
    return nullptr;
  }

 private:
  frame_base& frame_;
  frame_base* consumer_ = nullptr;
  bool running_ = false;
};

class generator_promise_base : public promise_base {
 public:
  void return_void() const noexcept {}

  void unhandled_exception() noexcept {
    if (generator_state::of(*frame_).exiting) {
      try {
        throw;
      } catch (generator_exit const&) {
        return;  // as it was told
      } catch (...) {  // NOLINT(bugprone-empty-catch): any other is kept below
      }
    }
    promise_base::unhandled_exception();
  }

  auto final_suspend() const noexcept {
    struct awaiter {
      frame_base* frame;
      bool await_ready() const noexcept { return false; }
      // NOLINTNEXTLINE(bugprone-exception-escape): the closer has not been used before
      void await_suspend(std::coroutine_handle<>) const noexcept {
        frame->phase = frame_phase::ended;
        generator_state& state = generator_state::of(*frame);
        frame_base* next = frame->continuation;
        if (state.pending()) {
          state.closing = &task_access::release(*state.closer);
          state.closing->task = frame->task;
          state.closing->phase = frame_phase::entered;
          state.closing->continuation = std::exchange(next, state.closing);
        }
        if (next) frame->task->loop().resume_next = next;
      }
      void await_resume() const noexcept {}
    };
    return awaiter{frame_};
  }

  using promise_base::await_transform;
  template <class Resource, class Cleanup>
  std::suspend_never await_transform(exit_registration<Resource, Cleanup>&&) {
    static_assert(always_false<Resource>, "in a generator it is co_yield aio::on_exit(...)");
    return {};
  }
  template <class Resource, class Cleanup>
  auto yield_value(exit_registration<Resource, Cleanup>&& registration) {
    generator_state::of(*frame_).add<>(std::move(registration.entry));
    struct awaiter {
      std::add_pointer_t<Resource> resource;
      bool await_ready() const noexcept { return true; }
      void await_suspend(std::coroutine_handle<>) const noexcept {}
      std::add_lvalue_reference_t<Resource> await_resume() const noexcept {
        if constexpr (!std::is_void_v<Resource>) return *resource;
      }
    };
    return awaiter{registration.resource};
  }

 protected:
  using promise_base::promise_base;

  /// Hands a value to the consumer; keeps a copy of it if there must be one.
  template <class Kept>
  class yielded {
   public:
    template <class K>
    yielded(frame_base& frame, K&& kept) : frame_(frame), kept_(std::forward<K>(kept)) {}

    bool await_ready() const noexcept { return false; }
    void await_suspend(std::coroutine_handle<>) noexcept {
      generator_state& state = generator_state::of(frame_);
      if constexpr (std::is_pointer_v<Kept>) {
        state.value = const_cast<void*>(static_cast<void const*>(kept_));
      } else {
        state.value = std::addressof(kept_.value);
      }
      state.yielded = true;
      if (frame_.continuation) {
        frame_.task->loop().resume_next = std::exchange(frame_.continuation, nullptr);
      }
    }
    void await_resume() const {
      if (generator_state::of(frame_).exiting) [[unlikely]]
        throw generator_exit();
    }

   private:
    frame_base& frame_;
    Kept kept_;
  };
};

template <class T>
class generator_promise final : public generator_promise_base {
  template <class Value>
  struct copy {
    explicit copy(Value const& of) : value(of) {}
    Value value;
  };

 public:
  // NOLINTNEXTLINE(google-explicit-constructor): compilers call it
  generator_promise(calling_place at = AIO_CALLER)
      : generator_promise_base(frame_base::of_promise(*this)) {
    frame_->where = place_of(at);
  }

  async_generator<T> get_return_object() noexcept {
    frame_->phase = frame_phase::made;
#if defined(__clang__)
    // As in task's promise: the frame must not be put into the caller's.
    asm volatile("" : "+r"(frame_));
#endif
    return async_generator<T>(*frame_);
  }

  using generator_promise_base::yield_value;
  auto yield_value(T& value) noexcept {
    // NOLINTNEXTLINE(clang-analyzer-core.CallAndMessage): the analyser makes no promises of coroutines
    return yielded<std::remove_reference_t<T>*>(*frame_, std::addressof(value));
  }
  auto yield_value(T&& value) noexcept
    requires(!std::is_reference_v<T>)
  {
    static_assert(safe_to_await_with<T&&>,
                  "g++ 12 would destroy a value of this type twice if it is made inside co_yield: "
                  "write it on a line before, row r{...}; co_yield r; or, to move it, co_yield "
                  "aio::moved(r);");
    return yielded<T*>(*frame_, std::addressof(value));
  }
  auto yield_value(moved_reference<T> value) noexcept
    requires(!std::is_reference_v<T>)
  {
    T&& named = detail::unwrap(value);
    return yielded<T*>(*frame_, std::addressof(named));
  }
  auto yield_value(T const& value)
    requires(!std::is_reference_v<T> && std::is_copy_constructible_v<T>)
  {
    return yielded<copy<T>>(*frame_, value);
  }

  static void* operator new(std::size_t frame_size) {
    std::size_t const size = generator_state::padding() + sizeof(generator_state) + sizeof(frame_base) + frame_size;
    auto* const memory = static_cast<char*>(frame_pool::allocate(size));
    auto* const state = ::new (static_cast<void*>(memory + generator_state::padding())) generator_state;
    return (::new (static_cast<void*>(state + 1)) frame_base(frame_pool::class_of(size), 0))->prepare_frame();
  }
  static void operator delete(void* frame, std::size_t) noexcept {
    frame_base& base = frame_base::of_frame(frame);
    if (base.phase == frame_phase::being_made) generator_state::free_memory(base);
  }
};

template <class T, class Body, class R>
task<R> closing(async_generator<T> generator, Body body) {
  co_return co_await ending_awaiter(
      aio::with_finally(std::invoke(body, generator), [&] { return generator.aclose(); }));
}

}  // namespace detail

template <class T>
detail::next_awaiter<T> async_generator<T>::next() {
  if (!frame_) throw usage_error("this async_generator was moved away");
  return detail::next_awaiter<T>(*frame_);
}

template <class T>
task<> async_generator<T>::aclose() {
  if (!frame_) throw usage_error("this async_generator was moved away");
  detail::generator_state& state = detail::generator_state::of(*frame_);
  if (state.busy) {
    throw usage_error("next() of this async_generator is awaited at the moment: cancel that");
  }
  if (state.closed || frame_->done()) co_return;
  std::exception_ptr error;
  if (frame_->phase == detail::frame_phase::entered) {
    value_type* left = nullptr;
    state.exiting = true;
    try {
      left = co_await detail::next_awaiter<T>(*frame_);  // also awaits the clean-up
    } catch (...) {
      error = std::current_exception();
    }
    if (left) {
      state.busy = true;
      result<void> cleaned(std::in_place);
      if (state.pending()) cleaned = co_await aio::as_result(std::move(*state.closer));
      state.busy = false;
      error = cleaned.has_value() ? std::make_exception_ptr(usage_error(
                                        "this async_generator went on when it was closed: what it catches with "
                                        "catch (...) it has to throw on"))
                                  : cleaned.error();
    }
  }
  state.closed = true;
  frame_->destroy_frame();
  if (error) std::rethrow_exception(error);
}

template <class T>
void async_generator<T>::drop() noexcept {
  if (!frame_) return;
  detail::generator_state const& state = detail::generator_state::of(*frame_);
  AIO_ASSERT(!state.busy);
  if (state.pending()) {
    detail::scheduler::report(detail::context_of(
        "the clean-up of a generator was not awaited: co_await its aclose(), or use with_closing", nullptr,
        frame_->where));
  }
  detail::generator_state::drop(*std::exchange(frame_, nullptr));
}

template <class T, class Body>
auto with_closing(async_generator<T> generator, Body&& body) {
  AIO_REFUSE_CLOSURES("with_closing", Body&&);
  using kept = detail::kept_type<Body>;
  static_assert(std::is_invocable_v<kept&, async_generator<T>&>,
                "with_closing takes a function of aio::async_generator<T>&");
  using made = std::remove_cvref_t<std::invoke_result_t<kept&, async_generator<T>&>>;
  static_assert(is_task<made>, "the body of with_closing has to be a coroutine: give it the return "
                               "type aio::task<>");
  return detail::closing<T, kept, typename made::value_type>(std::move(generator),
                                                             detail::unmoved(std::forward<Body>(body)));
}

}  // namespace aio::inline AIO_ABI

#if AIO_CLOSURES_DESTROYED_TWICE
template <class T, class... Parameters>
struct std::coroutine_traits<aio::async_generator<T>, Parameters...> {
  AIO_REFUSE_PARAMETERS(Parameters);
  using promise_type = aio::detail::generator_promise<T>;
};
#endif

#pragma GCC visibility pop
