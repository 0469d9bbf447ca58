// SPDX-License-Identifier: MIT
#pragma once

// A coroutine that computes a T: what `async def` is in Python.
//
//   aio::task<int> answer() {
//     co_await aio::sleep_for(1s);
//     co_return 42;
//   }
//
//   aio::task<> print() { std::cout << co_await answer() << '\n'; }
//
// To run several at once use create_task, gather or task_group; to start the program, run.

#include "aio/config.hpp"

#include <concepts>
#include <coroutine>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <initializer_list>
#include <memory>
#include <source_location>
#include <string>
#include <type_traits>
#include <utility>

#include "aio/closure.hpp"
#include "aio/detail/frame.hpp"
#include "aio/detail/frame_pool.hpp"
#include "aio/detail/nested_drop.hpp"
#include "aio/detail/scheduler.hpp"
#include "aio/detail/task_core.hpp"
#include "aio/error.hpp"
#pragma GCC visibility push(default)

namespace aio {

template <class T>
class task;

namespace detail {
template <class T>
class promise;
struct task_access;

template <class>
inline constexpr bool always_false = false;

template <class T>
using result_of_task = std::conditional_t<std::is_void_v<T>, task_access&, T>;
}  // namespace detail

/// A coroutine that has not begun. Calling the function makes it; awaiting it runs it, inside the
/// task that awaits, as a plain call would (CORE-2).
///
/// T may be `void`, a reference, move-only, and need not be default-constructible.
///
/// Suspends: awaiting it suspends only while the coroutine itself waits for something.
/// Resumes: in the same step in which the coroutine returns.
/// Cancelled: the cancellation is thrown where the coroutine waits, and passes through it like
/// any exception.
/// Throws: what the coroutine throws; usage_error when a task is awaited a second time.
/// Lifetime: owns the coroutine and its arguments, which go when the body ends. References that
/// were passed to the coroutine must live until it is done; passing temporaries is safe in
/// `co_await f(temporary())`, and not when the task is kept for later. That goes for what a lambda
/// captures, too: create_task(lambda, args...) keeps the lambda, create_task(lambda(args...)) does not.
/// Debug mode finds references, pointers and views of what was on the stack, as a temporary or a local
/// variable of a plain function is (event_loop::set_debug; with g++ and Clang, where NDEBUG is not
/// defined). What is gone elsewhere is found by the address sanitizer (-fsanitize=address) alone: the
/// characters of a long string, what was made by new or by a std::function, variables of a coroutine.
/// Threads: any thread may make and move one; it runs on one loop.
/// asyncio: a coroutine object. One that is dropped without being awaited is reported to the
/// exception handler of the running loop.
template <class T = void>
class [[nodiscard("a task does nothing until it is awaited: co_await it, or give it to "
                  "create_task")]] task {
 public:
  using promise_type = detail::promise<T>;
  using value_type = T;

  task(task&& other) noexcept : frame_(std::exchange(other.frame_, nullptr)) {}
  task& operator=(task&& other) noexcept {
    if (this != &other) {
      if (frame_) drop(true);
      frame_ = std::exchange(other.frame_, nullptr);
    }
    return *this;
  }
  AIO_ALWAYS_INLINE ~task() {
    if (frame_) [[unlikely]] drop(true);
  }

  /// Whether there is a coroutine to run: false once it was awaited or moved away.
  [[nodiscard]] bool valid() const noexcept { return frame_ != nullptr; }

  /// Destroys the coroutine without running it and without a report.
  void close() noexcept {
    if (frame_) drop(false);
  }

  /// What `int n = f();` and `std::cout << f()` hear: a task is not its result.
  operator detail::result_of_task<T>() const
    requires(!std::is_void_v<T>)
  {
    static_assert(detail::always_false<T>, "a task is not its result yet: write co_await f() in place of f()");
  }

  /// What `co_await f()` in an asio::awaitable hears, which calls what it cannot await with its frame.
  template <class Frame>
    requires requires(Frame& frame) { frame.attach_thread(nullptr); }
  std::nullptr_t operator()(Frame*) const {
    static_assert(detail::always_false<Frame>,
                  "an asio::awaitable cannot await a task of aio: make it a coroutine that returns aio::task, where "
                  "Asio's operations take aio::use_awaitable, and start it with create_task of an "
                  "aio::event_loop on the context");
    return nullptr;
  }

 private:
  friend detail::promise<T>;
  friend detail::task_access;

  explicit task(detail::frame_base& frame) noexcept : frame_(&frame) {}
  void drop(bool report) noexcept;

  detail::frame_base* frame_;  // null when awaited or moved away
};

/// Whether A is a task of any kind.
template <class A>
inline constexpr bool is_task = false;
template <class T>
inline constexpr bool is_task<task<T>> = true;

// ---------------------------------------------------------------- implementation

namespace detail {

// ---- the block of memory around a frame

template <class T>
struct block_layout {
  using stored = std::conditional_t<
      std::is_void_v<T>, char,
      std::conditional_t<std::is_reference_v<T>, std::remove_reference_t<T>*,
                         std::conditional_t<(alignof(std::conditional_t<
                                                 std::is_void_v<T> || std::is_reference_v<T>, char,
                                                 T>) > frame_alignment),
                                            std::unique_ptr<T>, T>>>;

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
      if (base.has_value) [[unlikely]] drop_value(base);
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
    if (base.error) [[unlikely]] base.error = nullptr;
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
    if (this->count_here(-1) == 0) [[likely]] dispose_here();
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
    if (!from.frame_) [[unlikely]] refuse_used();
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
    if (!from.frame_) [[unlikely]] refuse_used();
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

  /// The same for one of several. Requires: there is nothing to inherit.
  template <class T>
  AIO_ALWAYS_INLINE static void start_frame(task_core::starter& among, scheduler& on, frame_base& frame,
                                            std::source_location created, task_owner* expected_by,
                                            std::int32_t handles) noexcept {
    among.enlist(*::new (block_layout<T>::core_storage(frame)) task_state<T>(on, created, nullptr, among.next_number(),
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

// ---- awaiting a task

// So many frames run inside each other's await before the trampoline takes over: enough to make
// the trampoline rare, few enough for any stack at -O0 and under sanitizers.
inline constexpr unsigned max_depth = 32;

/// Runs a child coroutine inside the await of its parent, without a trip through any queue.
template <class T>
class [[nodiscard]] child_run {
 public:
  explicit child_run(task<T>&& child) : child_(&task_access::release(child)) {}
  child_run(child_run&& other) noexcept : child_(std::exchange(other.child_, nullptr)) {}
  child_run& operator=(child_run&&) = delete;
  AIO_ALWAYS_INLINE ~child_run() {
    if (child_) block_layout<T>::free(*child_);
  }

  void attach(frame_base& parent) noexcept { parent_ = &parent; }

  AIO_ALWAYS_INLINE bool await_ready() {
    frame_base& child = *child_;
    child.task = parent_->task;
    child.phase = frame_phase::entered;
    scheduler& on = child.task->loop();
    if (on.depth == max_depth) [[unlikely]] {
      child.continuation = parent_;
      on.resume_next = &child;
      return false;
    }
    ++on.depth;
    child.resume();
    --on.depth;
    if (child.done()) return true;
    child.continuation = parent_;
    return false;
  }
  // The child is already on its way, and will hand the parent to the trampoline.
  void await_suspend(std::coroutine_handle<>) const noexcept {}

 protected:
  frame_base& child() noexcept { return *child_; }

 private:
  frame_base* child_;
  frame_base* parent_ = nullptr;
};

template <class T>
class child_awaiter : public child_run<T> {
 public:
  using child_run<T>::child_run;
  child_awaiter(child_awaiter&&) noexcept = default;
  AIO_ALWAYS_INLINE ~child_awaiter() = default;

  AIO_ALWAYS_INLINE T await_resume() {
    frame_base& child = this->child();
    if (child.error) [[unlikely]] std::rethrow_exception(std::exchange(child.error, nullptr));
    if constexpr (!std::is_void_v<T>) {
      return static_cast<T&&>(block_layout<T>::value(child));
    }
  }
};

// ---- awaiting what is not aio's

/// What is handed to a foreign awaiter in place of the coroutine: looks like a frame to
/// `coroutine_handle::resume()` on every compiler, and queues the task.
struct alignas(frame_alignment) resume_proxy {
  void (*resume)(resume_proxy*);
  void (*destroy)(resume_proxy*);

  std::coroutine_handle<> handle() noexcept { return std::coroutine_handle<>::from_address(this); }
};

template <class A>
concept awaiter = requires(A& a) {
  a.await_ready() ? 0 : 0;
  a.await_suspend(std::coroutine_handle<>());
  a.await_resume();
};

/// An awaiter that knows aio: it is told the frame that awaits it.
template <class A>
concept attachable = awaiter<A> && requires(A& a, frame_base& frame) { a.attach(frame); };

template <class A>
concept member_co_await = requires(A&& a) { static_cast<A&&>(a).operator co_await(); };
template <class A>
concept free_co_await = requires(A&& a) { operator co_await(static_cast<A&&>(a)); };

/// How to await types that are not awaitable by themselves, such as Asio's deferred operations:
/// a specialisation has `static ... adapt(A&&)`, which returns an awaiter by value.
template <class A>
struct await_adapter {};

template <class A>
concept adapted = requires(A&& a) { await_adapter<std::remove_cvref_t<A>>::adapt(static_cast<A&&>(a)); };

/// The awaiter of an awaitable.
template <class A>
decltype(auto) awaiter_of(A&& awaitable) {
  if constexpr (adapted<A>) {
    return await_adapter<std::remove_cvref_t<A>>::adapt(static_cast<A&&>(awaitable));
  } else if constexpr (member_co_await<A>) {
    return static_cast<A&&>(awaitable).operator co_await();
  } else if constexpr (free_co_await<A>) {
    return operator co_await(static_cast<A&&>(awaitable));
  } else {
    return static_cast<A&&>(awaitable);
  }
}

template <class A>
concept standard_awaitable =
    requires(A&& a) { requires awaiter<std::remove_reference_t<decltype(detail::awaiter_of(static_cast<A&&>(a)))>>; };

/// Holds the awaiter that `operator co_await` or an adapter made, and attaches it.
template <class Awaiter>
class attached {
 public:
  template <class Make>
  attached(frame_base& frame, Make make) : inner_(make()) {
    inner_.attach(frame);
  }
  AIO_ALWAYS_INLINE ~attached() = default;
  AIO_ALWAYS_INLINE bool await_ready() { return inner_.await_ready(); }
  AIO_ALWAYS_INLINE decltype(auto) await_suspend(std::coroutine_handle<> self) {
    return inner_.await_suspend(self);
  }
  AIO_ALWAYS_INLINE decltype(auto) await_resume() { return inner_.await_resume(); }

 private:
  Awaiter inner_;
};

/// Refers to an attached awaiter: one that lives in the `co_await` expression anyway. g++ 12
/// would copy the awaiter if it were returned by reference.
template <class Awaiter>
class attached_reference {
 public:
  explicit attached_reference(Awaiter& inner) noexcept : inner_(&inner) {}
  AIO_ALWAYS_INLINE bool await_ready() { return inner_->await_ready(); }
  AIO_ALWAYS_INLINE decltype(auto) await_suspend(std::coroutine_handle<> self) {
    return inner_->await_suspend(self);
  }
  AIO_ALWAYS_INLINE decltype(auto) await_resume() { return inner_->await_resume(); }

 private:
  Awaiter* inner_;
};

/// Awaits an awaiter that does not know aio. Its resumption, from any thread, queues the task.
/// Cancelled: it cannot be told; its result is delivered, and the cancellation is raised when
/// the task suspends next.
template <class Awaiter>
class foreign_awaiter final : private resume_proxy, private waitable {
 public:
  template <class Make>
  foreign_awaiter(frame_base& frame, Make make)
      : resume_proxy{&on_resume, &on_destroy}, inner_(make()), frame_(&frame) {}
  foreign_awaiter(foreign_awaiter const&) = delete;

  bool await_ready() { return static_cast<bool>(inner_.await_ready()); }

  bool await_suspend(std::coroutine_handle<>) {
    task_core& task = *frame_->task;
    scheduler& on = task.loop();
    before_ = &task.innermost();
    task.suspend_on(*frame_, *this);
    on.work_started();
    suspended_ = true;
    try {
      using answer = decltype(inner_.await_suspend(handle()));
      if constexpr (std::is_void_v<answer>) {
        inner_.await_suspend(handle());
      } else if constexpr (std::is_convertible_v<answer, std::coroutine_handle<>>) {
        std::coroutine_handle<> const next = inner_.await_suspend(handle());
        if (next == handle()) return stay();
        next.resume();
      } else {
        if (!inner_.await_suspend(handle())) return stay();
      }
    } catch (...) {
      stay();
      throw;
    }
    return true;
  }

  decltype(auto) await_resume() {
    if (suspended_) frame_->task->loop().work_finished();
    if (destroyed_) {
      throw usage_error("an awaited operation destroyed its coroutine_handle instead of "
                        "resuming it");
    }
    return inner_.await_resume();
  }

 private:
  bool stay() noexcept {
    frame_->task->loop().work_finished();
    frame_->task->stop_waiting(*before_);
    suspended_ = false;
    return false;
  }

  bool cancel_wait(task_core&, cancel_message const&) override { return false; }
  late cancelled_after_wake(task_core&) noexcept override { return late::keep; }

  static void on_resume(resume_proxy* proxy) {
    task_core& task = *static_cast<foreign_awaiter*>(proxy)->frame_->task;
    if (scheduler::running() == &task.loop()) {
      task.wake();
    } else {
      task.loop().push_from_thread(task);
    }
  }
  static void on_destroy(resume_proxy* proxy) {
    static_cast<foreign_awaiter*>(proxy)->destroyed_ = true;
    on_resume(proxy);
  }

  Awaiter inner_;
  frame_base* frame_;
  frame_base const* before_ = nullptr;  // the task's innermost frame when this began
  bool suspended_ = false;
  bool destroyed_ = false;
};

template <class A>
concept looks_like_asio_awaitable = requires {
  typename A::value_type;
  typename A::executor_type;
} && requires(A& a) { a.await_ready(); };

template <class A>
concept duration_like = requires(A const& a) {
  typename A::period;
  a.count();
};

// ---- awaiting what needs nothing of its own in the frame

/// Suspends the task by `suspend_in(frame)`, which is all that there is to it; what wakes it is the
/// task's own node.
template <class A>
concept self_suspending = requires(A& a, frame_base& frame) { a.suspend_in(frame); };

/// The rest of such a wait: the task is suspended when this is made.
struct suspended {
  bool await_ready() const noexcept { return false; }
  void await_suspend(std::coroutine_handle<>) const noexcept {}
  AIO_ALWAYS_INLINE void await_resume() const {
    task_core& task = *scheduler::running()->current;
    if (task.cancel_delivered()) [[unlikely]] task.throw_cancelled();
  }
};

// ---- the promise

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
    frame_->set_ended(handling_cancellation());
    frame_->error = std::current_exception();
    scheduler& on = frame_->task->loop();
    if (on.debug()) [[unlikely]] on.note_error(frame_->error, frame_->where);
  }

  template <class A>
  auto await_transform(A&& awaited, calling_place at = AIO_CALLER) {
    using type = std::remove_cvref_t<A>;
    AIO_REFUSE_MADE_INSIDE(A);
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

 protected:
  explicit promise_base(frame_base& frame) noexcept : frame_(&frame) {}

  AIO_COLD AIO_NEVER_INLINE static void refuse_end(frame_base& frame) noexcept {
    try {
      std::string text = "the coroutine ";
      text.append(frame.where.function_name()).append(" ended without a co_return; the last line that is known: ");
      text.append(frame.where.file_name()).append(":").append(std::to_string(frame.where.line()));
      throw usage_error(text);
    } catch (...) {
      frame.error = std::current_exception();
    }
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
                    "an asio::awaitable runs in Asio's own coroutines only: write co_await "
                    "asio::co_spawn(co_await asio::this_coro::executor, std::move(a), "
                    "aio::use_awaitable)");
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

/// What shows the elements of another object, and does not own them.
template <class T>
concept refers_to_elements =
    std::is_trivially_destructible_v<T> && requires(T const& view) {
      { view.data() } -> std::convertible_to<void const*>;
      view.size();
    } && (std::is_convertible_v<std::remove_cvref_t<decltype(*std::declval<T const&>().data())>(&)[1], T> ||
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
    if (!frame_->has_value && !frame_->error) [[unlikely]] refuse_end(*frame_);
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
    return (::new (static_cast<char*>(memory) + layout::base_offset) frame_base(frame_pool::class_of(size)))
        ->prepare_frame();
  }
  // The block stays for whoever holds the task, unless an argument threw while it was copied.
  AIO_ALWAYS_INLINE static void operator delete(void* frame, std::size_t) noexcept {
    frame_base& base = frame_base::of_frame(frame);
    if (base.phase == frame_phase::being_made) [[unlikely]] discard(base);
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
      if (!scheduler::debug_in_use()) [[likely]] return;
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

}  // namespace detail

template <class T>
void task<T>::drop(bool report) noexcept {
  if (report && frame_->phase == detail::frame_phase::made && std::uncaught_exceptions() == 0) {
    detail::scheduler::report(detail::context_of("a coroutine was never awaited: ", nullptr, frame_->where,
                                                 frame_->where.function_name()));
  }
  detail::block_layout<T>::drop_unstarted(*std::exchange(frame_, nullptr));
}

}  // namespace aio

template <class T, class... Parameters>
struct std::coroutine_traits<aio::task<T>, Parameters...> {
#if AIO_CLOSURES_DESTROYED_TWICE
  AIO_REFUSE_PARAMETERS(Parameters);
#endif
  using promise_type =
      typename aio::detail::promise_for<T, aio::detail::references_among<Parameters...>()>::type;
};

#pragma GCC visibility pop
