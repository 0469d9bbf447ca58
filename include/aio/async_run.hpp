// SPDX-License-Identifier: MIT
#pragma once

// A task as an operation of Asio, for code with callbacks, futures or coroutines of other kinds.
//
//   asio::io_context context;
//   aio::event_loop loop{context};                              // beside the handlers of the program
//   aio::async_run(loop, fetch, url, [](std::exception_ptr error, std::string text) { ... });
//   std::future<std::string> text = aio::async_run(loop, fetch(url), asio::use_future);
//   context.run();

#include "aio/config.hpp"
#include "aio/detail/keywords_off.hpp"  // before Asio

#include <cstddef>
#include <exception>
#include <memory>
#include <optional>
#include <tuple>
#include <type_traits>
#include <utility>

#include "aio/detail/asio/associated_allocator.hpp"
#include "aio/detail/asio/associated_cancellation_slot.hpp"
#include "aio/detail/asio/associated_executor.hpp"
#include "aio/detail/asio/async_result.hpp"
#include "aio/detail/asio/cancellation_signal.hpp"
#include "aio/detail/asio/dispatch.hpp"
#include "aio/detail/asio/execution/context.hpp"
#include "aio/detail/asio/execution/executor.hpp"
#include "aio/detail/asio/executor_work_guard.hpp"
#include "aio/detail/asio/io_context.hpp"
#include "aio/detail/asio/query.hpp"

#include "aio/closure.hpp"
#include "aio/detail/awaiting.hpp"
#include "aio/detail/context_values.hpp"
#include "aio/detail/handle_base.hpp"
#include "aio/detail/loop_core.hpp"
#include "aio/detail/scheduler.hpp"
#include "aio/detail/sent_task.hpp"
#include "aio/detail/task_core.hpp"
#include "aio/error.hpp"
#include "aio/event_loop.hpp"
#include "aio/task.hpp"
#include "aio/task_handle.hpp"
#pragma GCC visibility push(default)

namespace aio::inline AIO_ABI {

/// Runs a task on a loop as an operation of Asio, with any completion token: a function, asio::use_future,
/// asio::use_awaitable, asio::deferred, asio::detached, aio::use_awaitable, and adapters around them.
///
/// Completes with `void(std::exception_ptr)`, or `void(std::exception_ptr, V)`: V is the type of the result, or a
/// std::optional of it where that cannot be made from nothing, or a pointer where it is a reference. With an error,
/// cancelled_error included, V is empty.
/// Resumes: the handler is called through its associated executor; one without is called by the loop, as a callback is,
/// in the iteration after the one in which the task ends. Never inside async_run. What it throws on the loop's thread
/// goes to the exception handler.
/// Cancelled: the handler's cancellation slot cancels the task, whatever the type of the cancellation, and the
/// operation completes when the task has ended. The loop's end cancels it, too (ARUN-3).
/// Throws: usage_error if the loop is closed, or none is there.
/// Lifetime: the loop must be there when the operation begins. It is then answered whatever becomes of the loop, unless
/// its executor is that of a context which nobody runs any more. Where that is a strand, the context has to outlive the
/// step of the loop that hands it the handler. asio::detached drops errors without a report.
/// Threads: any may call it, and the signal may be emitted on any, one at a time, as Asio asks for. The operation keeps
/// the contexts of the loop and of the handler's executor running. Its memory is of the handler's associated
/// allocator, and freed on the loop's thread. The task inherits the context variables of the code that begins it.
/// asyncio: run_coroutine_threadsafe with add_done_callback; ARUN-1 to ARUN-5.
template <class T, class Token>
decltype(auto) async_run(event_loop& loop, task<T>&& coroutine, Token&& token);

/// The same for a function and copies of its arguments, `async_run(loop, fn, args..., token)`: it is called on the
/// loop's thread, so that nothing is made on another one, and kept until its task is done.
template <class Fn, class... ArgsAndToken>
  requires(!is_task<std::remove_cvref_t<Fn>> && sizeof...(ArgsAndToken) > 0)
decltype(auto) async_run(event_loop& loop, Fn&& fn, ArgsAndToken&&... args_and_token);

/// The same on the loop that was put onto the context of `executor`, such as an I/O object has: on the newest, where
/// there are several.
template <class Executor, class... Rest>
  requires(!std::is_base_of_v<event_loop, Executor> && asio::execution::is_executor<Executor>::value &&
           sizeof...(Rest) > 1)
decltype(auto) async_run(Executor const& executor, Rest&&... rest);

// ---------------------------------------------------------------- implementation

namespace detail {

/// What a handler gets of a result of type T.
template <class T>
struct handed_over {
  using type = std::conditional_t<std::is_default_constructible_v<T>, T, std::optional<T>>;
};
template <class T>
struct handed_over<T&> {
  using type = T*;
};
template <class T>
struct handed_over<T&&> : handed_over<T> {};

template <class T>
struct run_signature {
  using type = void(std::exception_ptr, typename handed_over<T>::type);
};
template <class T>
  requires std::is_void_v<T>
struct run_signature<T> {
  using type = void(std::exception_ptr);
};

/// A handler with its values, and the work of its executor: that may be of a context which goes when this has run.
template <class Handler, class Executor, class... Values>
class run_completion {
 public:
  using allocator_type = asio::associated_allocator_t<Handler>;

  explicit run_completion(Handler&& handler, asio::executor_work_guard<Executor>&& work, std::exception_ptr error,
                          Values&&... values)
      : values_(std::move(error), std::move(values)...), handler_(std::move(handler)), work_(std::move(work)) {}

  [[nodiscard]] allocator_type get_allocator() const noexcept { return asio::get_associated_allocator(handler_); }

  void operator()() {
    std::apply(std::move(handler_), std::move(values_));
    work_.reset();
  }

 private:
  std::tuple<std::exception_ptr, Values...> values_;
  Handler handler_;  // behind them: if their move throws, it is as before
  asio::executor_work_guard<Executor> work_;
};

/// A task on its way to a loop, and the handler that waits for it. In memory of the handler's.
template <class Work, class Handler>
class run_operation final : public sent_task {
  using T = typename Work::value_type;
  using default_executor = asio::io_context::executor_type;
  using executor = asio::associated_executor_t<Handler, default_executor>;
  using allocator =
      typename std::allocator_traits<asio::associated_allocator_t<Handler>>::template rebind_alloc<run_operation>;

 public:
  ~run_operation() {
    if (cancellation_) cancellation_->close();
  }

  /// Throws: usage_error if the loop is closed, where `send` says so.
  template <class Send>
  static void start(default_executor const& on, Work&& work, Handler&& handler, Send send) {
    allocator memory(asio::get_associated_allocator(handler));
    struct place {
      ~place() {
        if (made) std::destroy_at(made);
        if (at) std::allocator_traits<allocator>::deallocate(memory, at, 1);
      }
      allocator& memory;
      run_operation* at;
      run_operation* made = nullptr;
    } block{memory, std::allocator_traits<allocator>::allocate(memory, 1)};
    block.made = ::new (static_cast<void*>(std::to_address(block.at)))
        run_operation(on, std::move(work), std::move(handler));
    block.made->listen();
    if (!send(*block.made)) throw usage_error("async_run: the event loop is closed");
    block.made = block.at = nullptr;
  }

 private:
  run_operation(default_executor const& on, Work&& work, Handler&& handler)
      : sent_task(read_context()),
        work_(std::move(work)),
        handler_(std::move(handler)),
        loop_works_(on),
        handler_works_(asio::get_associated_executor(handler_, on)) {}
  void listen() {
    auto slot = asio::get_associated_cancellation_slot(handler_);
    if (!slot.is_connected()) return;
    cancellation_ = std::make_shared<sent_cancellation>(*this);
    slot.assign([to = cancellation_](asio::cancellation_type_t type) {
      if (type != asio::cancellation_type::none) to->send(nullptr);
    });
  }

  task_core& begin(event_loop& on) override { return work_.begin(on); }
  void end(std::exception_ptr not_begun) noexcept override {
    work_.drop();
    scheduler& on = loop();
    try {
      if constexpr (std::is_void_v<T>) {
        std::exception_ptr error = std::move(not_begun);
        if (!error) error = error_of(work_.handle());
        finish(on, std::move(error));
      } else {
        typename handed_over<T>::type value{};
        std::exception_ptr error = std::move(not_begun);
        if (!error) {
          try {
            detail::take_result(work_.handle(), [&](auto&& got) { keep(value, std::forward<decltype(got)>(got)); });
          } catch (...) {
            error = std::current_exception();
          }
        }
        finish(on, std::move(error), std::move(value));
      }
    } catch (...) {
      on.call_exception_handler(
          context_of("an exception left the completion handler of async_run", std::current_exception()));
    }
  }
  void forget() noexcept override {}

  static std::exception_ptr error_of(task_handle<T> const& ended) {
    auto& state = handle_access::state(ended);
    return state.state() == future_state::value ? nullptr : state.read_error();
  }
  template <class Value, class Got>
  static void keep(Value& value, Got&& got) {
    if constexpr (std::is_lvalue_reference_v<T>) {
      value = std::addressof(got);
    } else if constexpr (std::is_same_v<Value, std::optional<std::remove_cvref_t<T>>> &&
                         !std::is_same_v<Value, std::remove_cvref_t<T>>) {
      value.emplace(std::forward<Got>(got));
    } else {
      value = std::forward<Got>(got);
    }
  }

  /// Calls the handler when all of this is gone.
  template <class... Values>
  void finish(scheduler& on, std::exception_ptr error, Values&&... values) {
    work_.handle() = {};
    auto const loop_works = std::move(loop_works_);
    auto const on_what = handler_works_.get_executor();
    std::optional<run_completion<Handler, executor, Values...>> made;
    try {
      made.emplace(std::move(handler_), std::move(handler_works_), std::move(error), std::move(values)...);
    } catch (...) {  // the move of a value
      made.emplace(std::move(handler_), std::move(handler_works_), std::current_exception(), Values()...);
    }
    auto& completion = *made;
    allocator memory(completion.get_allocator());
    auto const block = std::pointer_traits<typename std::allocator_traits<allocator>::pointer>::pointer_to(*this);
    std::destroy_at(this);
    std::allocator_traits<allocator>::deallocate(memory, block, 1);
    if constexpr (std::is_same_v<executor, default_executor>) {
      if (on_what == static_cast<loop_core&>(on).context().get_executor()) {
        // Here, and not through the context: when the loop ends, nobody may run that any more.
        completion();
        return;
      }
    }
    asio::dispatch(on_what, std::move(completion));
  }

  sent_work<Work> work_;
  Handler handler_;
  asio::executor_work_guard<default_executor> loop_works_;
  asio::executor_work_guard<executor> handler_works_;
};

/// Begins such an operation on a loop.
class run_initiation {
 public:
  using executor_type = asio::io_context::executor_type;

  explicit run_initiation(event_loop& loop) noexcept : loop_(&loop_access::core(loop)), context_(&loop.context()) {}
  /// On whatever loop is there when it begins.
  explicit run_initiation(asio::io_context& context) noexcept : context_(&context) {}

  [[nodiscard]] executor_type get_executor() const noexcept { return context_->get_executor(); }

  template <class Handler, class Work>
  void operator()(Handler&& handler, Work&& work) const {
    using operation = run_operation<std::decay_t<Work>, std::decay_t<Handler>>;
    std::decay_t<Work> own_work(std::forward<Work>(work));
    std::decay_t<Handler> own_handler(std::forward<Handler>(handler));
    operation::start(get_executor(), std::move(own_work), std::move(own_handler), [this](sent_task& made) {
      if (loop_) return made.send(*loop_);
      return scheduler::any_open([&](scheduler& each) {
        auto& on = static_cast<loop_core&>(each);
        return &on.context() == context_ && made.send(on);
      });
    });
  }

 private:
  loop_core* loop_ = nullptr;
  asio::io_context* context_;
};

/// The context of an executor. Throws: usage_error if there is no loop on it.
template <class Executor>
asio::io_context& context_with_loop(Executor const& executor) {
  asio::execution_context const* const wanted = &asio::query(executor, asio::execution::context);
  asio::io_context* found = nullptr;
  scheduler::any_open([&](scheduler& each) {
    auto& on = static_cast<loop_core&>(each);
    if (&on.context() != wanted) return false;
    found = &on.context();
    return true;
  });
  if (!found) {
    throw usage_error("async_run: there is no event loop on the context of this executor: make one, "
                      "aio::event_loop loop{context}");
  }
  return *found;
}

/// Whether what an operation gave may be awaited in the same expression.
template <class Given>
concept looks_awaitable = standard_awaitable<Given&&> || requires(Given& a) { a.await_ready(); };

template <class T, class Token>
decltype(auto) begin_run(run_initiation initiation, task<T>&& coroutine, Token&& token) {
  return asio::async_initiate<Token, typename run_signature<T>::type>(std::move(initiation), token,
                                                                      made_task<T>(std::move(coroutine)));
}

template <std::size_t... Index, class Fn, class Given>
decltype(auto) begin_run_of(run_initiation initiation, std::index_sequence<Index...>, Fn&& fn, Given&& given) {
  using work = task_to_make<kept_type<Fn>, kept_type<std::tuple_element_t<Index, Given>>...>;
  using token = std::tuple_element_t<sizeof...(Index), Given>;
  return asio::async_initiate<token, typename run_signature<typename work::value_type>::type>(
      std::move(initiation), std::get<sizeof...(Index)>(given),
      work(detail::unmoved(std::forward<Fn>(fn)),
           std::tuple<kept_type<std::tuple_element_t<Index, Given>>...>(
               detail::unmoved(static_cast<std::tuple_element_t<Index, Given>>(std::get<Index>(given)))...)));
}
template <class Fn, class... ArgsAndToken>
  requires(!is_task<std::remove_cvref_t<Fn>>)
decltype(auto) begin_run(run_initiation initiation, Fn&& fn, ArgsAndToken&&... args_and_token) {
  return detail::begin_run_of(std::move(initiation), std::make_index_sequence<sizeof...(ArgsAndToken) - 1>(),
                              std::forward<Fn>(fn),
                              std::forward_as_tuple(std::forward<ArgsAndToken>(args_and_token)...));
}

}  // namespace detail

template <class T, class Token>
decltype(auto) async_run(event_loop& loop, task<T>&& coroutine, Token&& token) {
  return detail::begin_run(detail::run_initiation(loop), std::move(coroutine), std::forward<Token>(token));
}

template <class Fn, class... ArgsAndToken>
  requires(!is_task<std::remove_cvref_t<Fn>> && sizeof...(ArgsAndToken) > 0)
decltype(auto) async_run(event_loop& loop, Fn&& fn, ArgsAndToken&&... args_and_token) {
  using given = decltype(detail::begin_run(detail::run_initiation(loop), std::forward<Fn>(fn),
                                           std::forward<ArgsAndToken>(args_and_token)...));
  if constexpr (detail::looks_awaitable<given>) {
    AIO_REFUSE_CLOSURES("async_run", Fn&&);
    AIO_REFUSE_AGGREGATES("async_run", ArgsAndToken&&);
  }
  return detail::begin_run(detail::run_initiation(loop), std::forward<Fn>(fn),
                           std::forward<ArgsAndToken>(args_and_token)...);
}

template <class Executor, class... Rest>
  requires(!std::is_base_of_v<event_loop, Executor> && asio::execution::is_executor<Executor>::value &&
           sizeof...(Rest) > 1)
decltype(auto) async_run(Executor const& executor, Rest&&... rest) {
  return detail::begin_run(detail::run_initiation(detail::context_with_loop(executor)), std::forward<Rest>(rest)...);
}

}  // namespace aio::inline AIO_ABI

#pragma GCC visibility pop

#include "aio/detail/keywords_back.hpp"
