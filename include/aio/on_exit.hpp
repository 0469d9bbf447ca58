// SPDX-License-Identifier: MIT
#pragma once

// Clean-up that has to wait, in a coroutine without another inside of it.
//
//   aio::task<> talk(aio::queue<message>& to) {
//     connection& link = co_await aio::on_exit(co_await db.connect(), &connection::close);
//     co_await aio::on_exit(std::ref(to), [](auto& queue) { return queue.get().put(message("gone")); });
//     ...                                          // whatever ends it: first "gone", then link.close()
//   }
//
// with_finally() is for a clean-up that needs variables of the function around.

#include "aio/config.hpp"

#include <coroutine>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <functional>
#include <memory>
#include <new>
#include <source_location>
#include <type_traits>
#include <utility>
#include <vector>

#include "aio/closure.hpp"
#include "aio/detail/awaiting.hpp"
#include "aio/detail/exceptions.hpp"
#include "aio/detail/frame.hpp"
#include "aio/detail/frame_pool.hpp"
#include "aio/detail/promise.hpp"
#include "aio/detail/scheduler.hpp"
#include "aio/error.hpp"
#include "aio/task.hpp"
#pragma GCC visibility push(default)

namespace aio::inline AIO_ABI {

/// `co_await on_exit(f)` in a task, `co_yield on_exit(f)` in a generator: awaits what `f()` returns when that coroutine
/// ends, by its last line, by an exception, by a cancellation; a generator also by aclose(). The last that was
/// registered comes first. Who awaits the coroutine goes on behind it.
///
/// `auto& c = co_await on_exit(object, f)` keeps the object, refers to it, and awaits `f(c)`, or calls a pointer to a
/// member: `on_exit(std::move(connection), &connection::close)`, `on_exit(this, &service::stop)`.
///
/// Suspends: not in what others see: neither here, nor by itself at the end. It is where the clean-up suspends.
/// Cancelled: a cancellation that comes during the clean-up is thrown inside of it, as in a `finally`; what was
/// registered before still runs. uncancellable() keeps it out: `on_exit([] { return aio::uncancellable(f()); })`.
/// Throws: what making a copy of its arguments throws, bad_alloc; then nothing is registered. usage_error if the object
/// is a pointer or std::ref to a variable of this coroutine (as far as that can be seen). At the end, the coroutine
/// throws what the clean-up throws, in place of its value; an error that gives way to that, of the coroutine or of
/// other clean-up, goes to the exception handler.
/// Lifetime: the variables of the coroutine are gone when its clean-up runs, and in a task its arguments are, too; so
/// what it needs is given to it. In a task a lambda is refused whose captures need no destructor: references and
/// pointers may lead there. Objects are kept until their own clean-up is over.
/// Threads: those of the coroutine.
/// asyncio: `async with` and contextlib.AsyncExitStack: enter_async_context(), push_async_callback().
template <class Cleanup>
[[nodiscard("co_await it in a task, co_yield it in a generator")]] auto on_exit(Cleanup&& cleanup);
template <class Resource, class Cleanup>
[[nodiscard("co_await it in a task, co_yield it in a generator")]] auto on_exit(Resource&& resource, Cleanup&& cleanup);

// ---------------------------------------------------------------- implementation

namespace detail {

/// One clean-up of a coroutine, and what it keeps for it.
class exit_entry {
 public:
  virtual ~exit_entry() = default;
  virtual task<> run() = 0;
};

template <class Resource, class Cleanup>
class exit_entry_of final : public exit_entry {
 public:
  template <class R, class C>
  exit_entry_of(R&& kept, C&& cleanup)
      : resource(std::forward<R>(kept)), cleanup_(std::forward<C>(cleanup)) {}

  task<> run() override { (void)co_await std::invoke(cleanup_, resource); }

  Resource resource;

 private:
  Cleanup cleanup_;
};

template <class Cleanup>
class exit_entry_of<void, Cleanup> final : public exit_entry {
 public:
  template <class C>
  // NOLINTNEXTLINE(bugprone-forwarding-reference-overload): entries are not copied
  explicit exit_entry_of(C&& cleanup) : cleanup_(std::forward<C>(cleanup)) {}

  task<> run() override { (void)co_await cleanup_(); }

 private:
  Cleanup cleanup_;
};

/// All of one coroutine.
class exit_list {
 public:
  void add(std::unique_ptr<exit_entry> entry) { entries_.push_back(std::move(entry)); }
  [[nodiscard]] bool empty() const noexcept { return entries_.empty(); }
  std::unique_ptr<exit_entry> take_last() noexcept {
    std::unique_ptr<exit_entry> last = std::move(entries_.back());
    entries_.pop_back();
    return last;
  }

 private:
  std::vector<std::unique_ptr<exit_entry>> entries_;
};

/// An error that gives way to one of the clean-up.
inline void report_replaced(std::exception_ptr const& error) noexcept {
  if (!error || detail::is_cancellation(error)) return;
  scheduler::report(detail::context_of("an error was replaced by one of its on_exit clean-up", error));
}

/// Runs the clean-up of a task's coroutine, in a frame between that one and who awaits it. Nobody owns it: it goes at
/// its own end.
class exit_runner {
 public:
  class promise_type;
  /// What stands in front of its frame_base.
  struct alignas(frame_alignment) state {
    exit_list entries;
    frame_base* of = nullptr;  // the coroutine
    bool passes_on = false;    // an error of that ends who awaits it, too
  };
  static constexpr std::size_t state_size =
      sizeof(state) + (frame_alignment - sizeof(frame_base) % frame_alignment) % frame_alignment;

  /// That of `coroutine`, which is suspended in an await of who awaits it, if any. Made at the first call, together
  /// with what it needs to begin at the end. Throws: bad_alloc.
  AIO_ON_DEMAND
  static state& of(frame_base& coroutine) {
    frame_base* const next = coroutine.continuation;  // null of a task's own
    if (is_there(coroutine)) return state_of(*next);
    frame_base& made = *run<>().frame_;
    made.task = coroutine.task;
    made.phase = frame_phase::entered;
    made.continuation = next;
    made.marks = frame_base::runs_clean_up;
    state& own = state_of(made);
    own.of = &coroutine;
    own.passes_on = (coroutine.marks & frame_base::ends_awaiter) != 0;
    coroutine.marks &= static_cast<std::uint8_t>(~frame_base::ends_awaiter);
    coroutine.continuation = &made;
    return own;
  }
  /// Whether the coroutine has one. (Its continuation may also be that of another coroutine, whose clean-up it is.)
  static bool is_there(frame_base const& coroutine) noexcept {
    frame_base* const next = coroutine.continuation;
    return next && (next->marks & frame_base::runs_clean_up) != 0 && state_of(*next).of == &coroutine;
  }

 private:
  explicit exit_runner(frame_base& frame) noexcept : frame_(&frame) {}

  static state& state_of(frame_base& frame) noexcept {
    return *std::launder(reinterpret_cast<state*>(reinterpret_cast<char*>(&frame) - state_size));
  }

  // The frame that awaits it.
  struct own_frame {
    frame_base* frame = nullptr;
    void attach(frame_base& own) noexcept { frame = &own; }
    bool await_ready() const noexcept { return true; }
    void await_suspend(std::coroutine_handle<>) const noexcept {}
    frame_base& await_resume() const noexcept { return *frame; }
  };

  // A template because g++ compiles coroutines that are none also where nobody calls them.
  template <class = void>
  static exit_runner run();

  frame_base* frame_;
};

class exit_runner::promise_type : public promise_base {
 public:
  promise_type() : promise_base(frame_base::of_promise(*this)) {}

  exit_runner get_return_object() noexcept {
#if defined(__clang__)
    // As in task's promise: the frame must not be put into the caller's.
    asm volatile("" : "+r"(frame_));
#endif
    return exit_runner(*frame_);
  }
  void return_void() const noexcept {}

  static void* operator new(std::size_t frame_size) {
    std::size_t const size = state_size + sizeof(frame_base) + frame_size;
    auto* const memory = static_cast<char*>(frame_pool::allocate(size));
    ::new (static_cast<void*>(memory)) state;
    return (::new (static_cast<void*>(memory + state_size)) frame_base(frame_pool::class_of(size), 0))->prepare_frame();
  }
  static void operator delete(void* frame, std::size_t) noexcept {
    frame_base& base = frame_base::of_frame(frame);
    state& own = state_of(base);
    std::size_t const block_class = base.block_class;
    std::destroy_at(&base);
    std::destroy_at(&own);
    frame_pool::deallocate_class(&own, block_class);
  }
};

template <class>
exit_runner exit_runner::run() {
  frame_base& own = co_await own_frame();
  state& self = state_of(own);
  frame_base& of = *self.of;
  of.destroy_frame();  // there may be something in it where its error was not thrown
  of.phase = frame_phase::cleaning_up;
  while (!self.entries.empty()) {
    std::unique_ptr<exit_entry> last = self.entries.take_last();
    std::exception_ptr error;
    try {
      co_await last->run();
      last.reset();
    } catch (...) {
      error = std::current_exception();
    }
    if (!error) continue;
    detail::report_replaced(of.error);
    of.set_ended(detail::is_cancellation(error));
    of.error = std::move(error);
  }
  of.phase = frame_phase::gone;
  of.continuation = own.continuation;
  if (of.error && self.passes_on) own.continuation = detail::pass_error_on(of, true);
}

template <class T>
inline constexpr bool is_reference_wrapper = false;
template <class T>
inline constexpr bool is_reference_wrapper<std::reference_wrapper<T>> = true;

/// What on_exit() gives to a coroutine.
template <class Resource, class Cleanup>
class [[nodiscard("co_await it in a task, co_yield it in a generator")]] exit_registration {
 public:
  explicit exit_registration(exit_entry_of<Resource, Cleanup>* made) noexcept : entry(made) {
    if constexpr (!std::is_void_v<Resource>) resource = std::addressof(made->resource);
  }
  std::unique_ptr<exit_entry> entry;
  std::add_pointer_t<Resource> resource = nullptr;  // in the entry

  void attach(frame_base& frame) {
    static_assert(!std::is_class_v<Cleanup> || std::is_empty_v<Cleanup> || !std::is_trivially_destructible_v<Cleanup>,
                  "on_exit: the variables and arguments of a task are gone when its clean-up runs, and a lambda that "
                  "refers to something may refer to one of them. Give it what it needs: co_await "
                  "aio::on_exit(std::move(link), &connection::close), on_exit(std::ref(other), [](auto& o) { ... }), "
                  "or on_exit(this, &type::stop)");
    frame_ = &frame;
    if constexpr (std::is_pointer_v<Resource>) {
      if constexpr (std::is_object_v<std::remove_pointer_t<Resource>>) refuse_own(*resource);
    } else if constexpr (is_reference_wrapper<Resource>) {
      if constexpr (std::is_object_v<typename Resource::type>) refuse_own(std::addressof(resource->get()));
    }
  }
  // It is between this coroutine and who awaits it that the runner stands. So that one waits, for this moment.
  [[nodiscard]] bool await_ready() const noexcept { return exit_runner::is_there(*frame_); }
  void await_suspend(std::coroutine_handle<>) noexcept { frame_->task->loop().resume_next = frame_; }
  std::add_lvalue_reference_t<Resource> await_resume() {
    exit_runner::of(*frame_).entries.add(std::move(entry));
    if constexpr (!std::is_void_v<Resource>) return *resource;
  }

 private:
  void refuse_own(void const volatile* subject) const {
    if (frame_->frame_offset == frame_base::frame_is_far) return;
    auto const begin = reinterpret_cast<std::uintptr_t>(frame_->frame());
    auto const at = reinterpret_cast<std::uintptr_t>(subject);
    std::uintptr_t const end = begin - frame_->frame_offset + frame_pool::least_size(frame_->block_class);
    if (at < begin || at >= end) return;
    throw usage_error("on_exit: this refers to a variable of the coroutine, which is gone when its clean-up runs: give "
                      "it the object itself, on_exit(std::move(object), ...)");
  }

  frame_base* frame_ = nullptr;
};

}  // namespace detail

template <class Cleanup>
auto on_exit(Cleanup&& cleanup) {
  AIO_REFUSE_CLOSURES("on_exit", Cleanup&&);
  using kept = detail::kept_type<Cleanup>;
  static_assert(std::is_invocable_v<kept&>,
                "on_exit takes a function without arguments that returns something to await, or "
                "an object and a function of it");
  return detail::exit_registration<void, kept>(
      new detail::exit_entry_of<void, kept>(detail::unmoved(std::forward<Cleanup>(cleanup))));
}

template <class Resource, class Cleanup>
auto on_exit(Resource&& resource, Cleanup&& cleanup) {
  AIO_REFUSE_CLOSURES("on_exit", Resource&&);
  AIO_REFUSE_CLOSURES("on_exit", Cleanup&&);
  using object = detail::kept_type<Resource>;
  using kept = detail::kept_type<Cleanup>;
  static_assert(std::is_invocable_v<kept&, object&>,
                "on_exit takes an object and a function of a reference to it, which returns "
                "something to await");
  return detail::exit_registration<object, kept>(
      new detail::exit_entry_of<object, kept>(detail::unmoved(std::forward<Resource>(resource)),
                                              detail::unmoved(std::forward<Cleanup>(cleanup))));
}

}  // namespace aio::inline AIO_ABI

#pragma GCC visibility pop
