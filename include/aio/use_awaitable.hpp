// SPDX-License-Identifier: MIT
#pragma once

// Any operation of Asio, awaited.
//
//   asio::ip::tcp::socket socket(co_await asio::this_coro::executor);
//   co_await socket.async_connect(endpoint, aio::use_awaitable);
//   std::size_t n = co_await socket.async_read_some(asio::buffer(data), aio::use_awaitable);
//
//   using socket = aio::use_awaitable_t::as_default_on_t<asio::ip::tcp::socket>;
//   co_await s.async_connect(endpoint);                            // as its default token
//
//   auto [error, n] = co_await s.async_read_some(buffer, asio::as_tuple(aio::use_awaitable));
//
// Asio's adapters of tokens go around it as around any other: bind_allocator, bind_cancellation_slot, bind_executor and
// redirect_error in every version; as_tuple, append, prepend and deferred, which with Asio 1.22 and 1.23 are in
// asio::experimental; consign and cancel_after where Asio has them (1.28 and 1.34 do, 1.24 and 1.30 do not).
// Operations from deferred can be awaited without a token.

#include "aio/config.hpp"
#include "aio/detail/keywords_off.hpp"  // before Asio

#include <concepts>
#include <coroutine>
#include <tuple>
#include <type_traits>
#include <utility>

#include "aio/detail/asio/associated_executor.hpp"
#include "aio/detail/asio/associator.hpp"
#include "aio/detail/asio/async_result.hpp"
#include "aio/detail/asio/io_context.hpp"
#include "aio/detail/asio/macros.hpp"
#include "aio/detail/asio/redirect_error.hpp"
#include "aio/detail/asio/this_coro.hpp"

#include "aio/detail/awaiting.hpp"
#include "aio/detail/io_operation.hpp"
#include "aio/detail/loop_core.hpp"
#include "aio/detail/loop_executor.hpp"
#include "aio/event_loop.hpp"
#include "aio/system_error.hpp"
#include "aio/task.hpp"
#pragma GCC visibility push(default)

namespace aio::inline AIO_ABI {

/// The completion token that makes an Asio operation awaitable in an aio::task.
///
/// `co_await operation(..., use_awaitable)` starts the operation and gives its result: nothing,
/// a value, or a std::tuple of several.
///
/// Suspends: always.
/// Resumes: on the loop's thread, in the iteration after Asio completed the operation; where the
/// loop waits, that iteration is inside the completion.
/// Cancelled: asks Asio to cancel the operation, through its cancellation slot, and waits for it
/// to complete: nothing is pending any more when cancelled_error is thrown. Any error code that it
/// then completes with is the cancellation's, and so is any system_error. If it completed with
/// a result after all, that is delivered, and the cancellation is thrown at the next suspension
/// (D3). With asio::bind_cancellation_slot it listens to that slot alone, and is only waited for.
/// Throws: system_error if the first value is an error code, which is not given then; the
/// exception, if it is an exception_ptr; std::bad_alloc, and whatever else leaves a step of the operation.
/// Threads: an operation on an object of another context is started and cancelled there, by
/// functions on the object's executor. Where several threads run it, that has to be a strand.
/// Lifetime: buffers must live until it completes, as with any token. An I/O object that goes ends
/// its operations; one of another context must live until they have completed.
/// Allocations: none from malloc in the steady state, on objects of the loop's context; the
/// operation lives in the frame pool.
struct use_awaitable_t {
  constexpr use_awaitable_t() = default;

  /// An executor with this as its default token.
  template <class Executor>
  struct executor_with_default : Executor {
    using default_completion_token_type = use_awaitable_t;

    // NOLINTNEXTLINE(google-explicit-constructor): as executors are converted
    executor_with_default(Executor const& inner) noexcept : Executor(inner) {}
    template <class Other>
      requires(!std::same_as<Other, executor_with_default> &&
               std::is_convertible_v<Other const&, Executor>)
    // NOLINTNEXTLINE(google-explicit-constructor): as executors are converted
    executor_with_default(Other const& other) noexcept : Executor(other) {}
  };

  /// The I/O object type T with this as its default token.
  template <class T>
  using as_default_on_t =
      typename T::template rebind_executor<executor_with_default<typename T::executor_type>>::other;

  /// `object`, as that type.
  template <class T>
  static as_default_on_t<std::decay_t<T>> as_default_on(T&& object) {
    return as_default_on_t<std::decay_t<T>>(std::forward<T>(object));
  }
};

inline constexpr use_awaitable_t use_awaitable{};

// ---------------------------------------------------------------- implementation

namespace detail {

// ---- awaiting without a token

/// A deferred operation: called with a token it starts.
template <class A>
concept deferred_operation = !is_task<A> && requires(A&& a) { std::move(a)(use_awaitable); } &&
                             requires(A&& a) { std::move(a)(use_awaitable).await_resume(); };

template <deferred_operation A>
struct await_adapter<A> {
  template <class B>
  static auto adapt(B&& operation) {
    return std::forward<B>(operation)(use_awaitable);
  }
};

/// co_await asio::this_coro::executor: that of the loop.
template <>
struct await_adapter<asio::this_coro::executor_t> {
  struct awaiter {
    void attach(frame_base& frame) noexcept { loop = &frame.task->loop(); }
    bool await_ready() const noexcept { return true; }
    void await_suspend(std::coroutine_handle<>) const noexcept {}
    asio::io_context::executor_type await_resume() const noexcept {
      return static_cast<loop_core*>(loop)->context().get_executor();
    }
    scheduler* loop = nullptr;
  };
  static awaiter adapt(asio::this_coro::executor_t) noexcept { return {}; }
};

// ---- what adapters of the token need

/// Which operation a handler completes, through all adapters around it; asked for like an associated executor.
template <class Handler, class Default>
struct associated_operation {
  using type = Default;
  static Default get(Handler const& handler, Default none = Default()) noexcept {
    using inside = asio::associator<aio::detail::associated_operation, Handler, Default>;
    if constexpr (requires { typename inside::type; }) {
      return inside::get(handler, none);
    } else {
      return none;
    }
  }
};
template <class... R, class Default>
struct associated_operation<io_handler<R...>, Default> {
  using type = Default;
  static Default get(io_handler<R...> const& handler, Default = Default()) noexcept { return handler.operation(); }
};

/// Whether a token is use_awaitable inside adapters.
template <class Token>
inline constexpr bool leads_to_use_awaitable = std::is_same_v<std::remove_cv_t<Token>, use_awaitable_t>;
template <template <class...> class Adapter, class Token, class... More>
inline constexpr bool leads_to_use_awaitable<Adapter<Token, More...>> = leads_to_use_awaitable<Token>;

/// asio::redirect_error's, which tells the operation of the error that it takes away.
template <class Handler>
class redirecting_handler {
 public:
  redirecting_handler(error_code& to, Handler&& inside) : to_(to), inner(std::move(inside)) {}

  template <class... Args>
  void operator()(error_code const& error, Args&&... args) {
    to_ = error;
    if (error) {
      if (io_base* const of = associated_operation<Handler, io_base*>::get(inner)) of->note_error();
    }
    std::move(inner)(std::forward<Args>(args)...);
  }
  template <class... Args>
  void operator()(Args&&... args) {
    std::move(inner)(std::forward<Args>(args)...);
  }

 private:
  error_code& to_;

 public:
  Handler inner;
};

template <class Signature>
struct without_error {
  using type = Signature;
};
template <class R, class... Args>
struct without_error<R(error_code, Args...)> {
  using type = R(Args...);
};
template <class R, class... Args>
struct without_error<R(error_code const&, Args...)> {
  using type = R(Args...);
};

/// An initiation, with a handler that `wrap` makes of the one that it is given.
template <class Initiation, class Wrap>
struct wrapping_initiation {
  template <class Handler, class... Args>
  void operator()(Handler&& handler, Args&&... args) && {
    std::move(inside)(wrap(std::forward<Handler>(handler)), std::forward<Args>(args)...);
  }
  auto get_executor() const noexcept
    requires requires(Initiation const& of) { of.get_executor(); }
  {
    return inside.get_executor();
  }
  /// Where the error goes that the handler is not given.
  auto redirects_to() const noexcept
    requires requires(Wrap const& of) { of.to; }
  {
    return wrap.to;
  }
  Initiation inside;
  Wrap wrap;
};
struct wrap_redirecting {
  template <class Handler>
  redirecting_handler<std::decay_t<Handler>> operator()(Handler&& handler) const {
    return {*to, std::forward<Handler>(handler)};
  }
  error_code* to;
};

}  // namespace detail
}  // namespace aio::inline AIO_ABI

template <class... R>
struct aio::asio::async_result<aio::use_awaitable_t, void(R...)> {
  using return_type = void;  // adapters of older Asio name it, and never use it

  template <class Initiation, class... Args>
  using awaiter = aio::detail::io_awaiter<std::decay_t<Initiation>, std::tuple<std::decay_t<Args>...>,
                                          std::decay_t<R>...>;

  // Not auto: Asio asks for the type with arguments that could not be stored.
  template <class Initiation, class... Args>
  static awaiter<Initiation, Args...> initiate(Initiation&& initiation, aio::use_awaitable_t,
                                               Args&&... args) {
    return awaiter<Initiation, Args...>(std::in_place, std::forward<Initiation>(initiation),
                                        std::forward<Args>(args)...);
  }
};

// In place of Asio's: that of older Asio wants to know the awaiter's type before the operation's, and none tells that
// an operation has ended in an error which is not among its values.
template <class Token, class Signature>
  requires aio::detail::leads_to_use_awaitable<Token>
struct aio::asio::async_result<aio::asio::redirect_error_t<Token>, Signature> {
  template <class Initiation, class Adapted, class... Args>
  static auto initiate(Initiation&& initiation, Adapted&& token, Args&&... args) {
    using wrapped = aio::detail::wrapping_initiation<std::decay_t<Initiation>, aio::detail::wrap_redirecting>;
    using inner = std::remove_reference_t<decltype((token.token_))>;
    return aio::asio::async_initiate<inner, typename aio::detail::without_error<Signature>::type>(
        wrapped{std::forward<Initiation>(initiation), {&token.ec_}}, token.token_, std::forward<Args>(args)...);
  }
};
template <template <class, class> class Associator, class Handler, class Default>
struct aio::asio::associator<Associator, aio::detail::redirecting_handler<Handler>, Default>
    : Associator<Handler, Default> {
  // Not every associator has this one: of an immediate executor nobody asks without one to fall back upon.
  static typename Associator<Handler, Default>::type get(
      aio::detail::redirecting_handler<Handler> const& handler) noexcept {
    return Associator<Handler, Default>::get(handler.inner);
  }
  static auto get(aio::detail::redirecting_handler<Handler> const& handler, Default const& none) noexcept
      -> decltype(Associator<Handler, Default>::get(handler.inner, none)) {
    return Associator<Handler, Default>::get(handler.inner, none);
  }
};

namespace aio::inline AIO_ABI::detail {

template <class T, class Executor>
Executor executor_of(asio::associated_executor<T, Executor> const*);
/// What who asks for the executor of a handler falls back upon by default: asio::system_executor, or newer ones'
/// asio::inline_executor.
using default_executor = decltype(detail::executor_of(static_cast<asio::associated_executor<int> const*>(nullptr)));

}  // namespace aio::inline AIO_ABI::detail

namespace AIO_ASIO {

/// The executor of a handler, for an operation that has none of its own: a function on another thread that has the
/// handler called, or asio::post(aio::use_awaitable). It may be kept when the loop is gone. Who asks with an executor
/// to fall back upon, as operations of sockets and timers do, gets that one: through another, each is queued twice.
template <class... R>
struct associated_executor<aio::detail::io_handler<R...>, aio::detail::default_executor> {
  using type = aio::detail::loop_executor;
  static type get(aio::detail::io_handler<R...> const& handler, aio::detail::default_executor const& = {}) noexcept {
    auto const* const of = handler.operation();
    return of ? of->loop().handler_executor() : aio::detail::loop_executor(nullptr);
  }
};

/// Refuses tasks of aio with a sentence, in place of the pages that Asio's own overloads would say.
template <class Executor, class T, class Token>
void co_spawn(Executor const&, aio::task<T>&&, Token&&) {
  static_assert(aio::detail::always_false<T>,
                "asio::co_spawn runs coroutines of Asio: for a task of aio write loop.create_task(f()), with an "
                "aio::event_loop on the context");
}
template <class Executor, class T, class Token>
void co_spawn(Executor const& on, aio::task<T>& coroutine, Token&& token) {
  asio::co_spawn(on, std::move(coroutine), std::forward<Token>(token));
}

}  // namespace AIO_ASIO

#pragma GCC visibility pop

#include "aio/detail/keywords_back.hpp"
