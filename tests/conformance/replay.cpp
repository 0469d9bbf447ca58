// SPDX-License-Identifier: MIT

// Runs programs of the conformance language on aio and prints what happened, in order, as
// CPython's asyncio would; README.md in this folder describes the language.
//
//   aio_replay run PROGRAM.json            the trace of one program
//   aio_replay batch IN.jsonl OUT.jsonl    one program per line in, {"name", "trace"} per line out
//   aio_replay check PROGRAMS.jsonl TRACES.jsonl   compares; says where traces differ

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <exception>
#include <fstream>
#include <functional>
#include <iostream>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <stdexcept>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include <nlohmann/json.hpp>

#include <aio/aio.hpp>

namespace {

using json = nlohmann::json;
using namespace std::chrono_literals;

// ---- exceptions as the programs know them

/// What `raise` throws: a type of the language and its payload.
struct raised : std::exception {
  raised(std::string type_, std::string payload_)
      : type(std::move(type_)), payload(std::move(payload_)) {}
  std::string type;
  std::string payload;
};

struct error_text {
  std::string type;
  std::string text;
};

error_text describe(std::exception_ptr const& error) {
  auto const of_library = [](std::string const& type) { return error_text{type, type + "()"}; };
  try {
    std::rethrow_exception(error);
  } catch (raised const& e) {
    return {e.type, e.type + "(" + e.payload + ")"};
  } catch (aio::cancelled_error const& e) {
    return {"Cancelled", "Cancelled(" + std::string(e.message()) + ")"};
  } catch (aio::exception_group const& group) {
    std::string text;
    for (auto const& each : group.exceptions()) {
      text += (text.empty() ? "" : ", ") + describe(each).text;
    }
    return {"ExceptionGroup", "ExceptionGroup[" + text + "]"};
  } catch (aio::timeout_error const&) {
    return of_library("Timeout");
  } catch (aio::invalid_state_error const&) {
    return of_library("InvalidState");
  } catch (aio::queue_full const&) {
    return of_library("QueueFull");
  } catch (aio::queue_empty const&) {
    return of_library("QueueEmpty");
  } catch (aio::queue_shut_down const&) {
    return of_library("QueueShutDown");
  } catch (aio::broken_barrier_error const&) {
    return of_library("BrokenBarrier");
  } catch (aio::usage_error const&) {
    return of_library("RuntimeError");
  } catch (std::logic_error const&) {
    return of_library("ValueError");
  }
}

std::string show(std::exception_ptr const& error) { return describe(error).text; }

bool catches(std::string const& clause, std::string const& type) {
  return clause == type || clause == "BaseException" ||
         (clause == "Exception" && type != "Cancelled") ||
         (clause == "RuntimeError" && type == "BrokenBarrier");
}

// ---- the loop: time moves only when nothing is ready

/// Ends a run early; the word is the last of the trace.
struct stopped {
  std::string word;
};

class replay_loop final : public aio::event_loop {
 public:
  replay_loop() { waits_for_wake_ups = false; }

  [[nodiscard]] aio::time_point now() const noexcept override { return now_; }
  [[nodiscard]] long milliseconds() const {
    return static_cast<long>(now_.time_since_epoch() / 1ms);
  }
  [[nodiscard]] bool has_tasks() const { return !all().empty(); }
  [[nodiscard]] std::vector<aio::any_task_handle> all() const {
    std::vector<aio::any_task_handle> found;
    auto& list = const_cast<replay_loop*>(this)->core().tasks;
    for (auto* core = list.front(); core; core = list.after(*core)) found.emplace_back(*core);
    return found;
  }

  void stop_at_next_wait(std::string word) { stop_word_ = std::move(word); }
  void forget_stop() { stop_word_.reset(); }

  /// What it is made of.
  [[nodiscard]] aio::detail::loop_core& core() noexcept { return aio::detail::loop_access::core(*this); }

  /// Leaves tasks that cannot be ended where they are.
  void abandon_tasks() {
    while (auto* const task = core().tasks.front()) {
      aio::detail::intrusive_list<aio::detail::task_core, aio::detail::all_tasks_tag>::remove(*task);
    }
  }

 private:
  void wait() override {
    if (stop_word_) throw stopped{*stop_word_};
    if (next_deadline() == (aio::time_point::max)()) throw stopped{"DEADLOCK"};
    now_ = next_deadline();
  }

  aio::time_point now_{};
  std::optional<std::string> stop_word_;
};

// ---- variables

/// Any task or future, without its result.
class any_future : public aio::detail::handle_base<any_future, aio::detail::future_core, void> {
 public:
  any_future() = default;
  template <class Handle>
  explicit any_future(Handle const& handle)
      : handle_base(aio::detail::state_ptr<aio::detail::future_core>::share(
            aio::detail::handle_access::state(handle))) {}
};

}  // namespace

template <>
struct aio::detail::child_traits<any_future> {
  using value_type = void;
  using state = future_core;
  static constexpr bool own = false;
};

namespace {

using value_task = aio::task<std::string>;

/// A task or future, what its result looks like, and what else it may be.
struct awaited {
  any_future handle;
  std::function<std::string()> value;  // of one that is done without an error
  std::string name;
  std::optional<aio::any_task_handle> task = std::nullopt;
  std::optional<aio::future<std::string>> settable = std::nullopt;

  [[nodiscard]] std::string display_name() const { return task ? task->name() : name; }

  /// The value. Throws what it ended with, or invalid_state_error.
  std::string result() const {
    aio::detail::handle_access::state(handle).require_value();
    return value();
  }
};

using queues = std::variant<aio::queue<long>, aio::lifo_queue<long>, aio::priority_queue<long>>;

using variable =
    std::variant<awaited, std::shared_ptr<aio::task_group>, std::shared_ptr<aio::timeout>,
                 aio::callback_handle, std::shared_ptr<aio::semaphore>,
                 std::shared_ptr<aio::bounded_semaphore>, std::shared_ptr<aio::lock>,
                 std::shared_ptr<aio::event>, std::shared_ptr<aio::condition>,
                 std::shared_ptr<aio::barrier>, std::shared_ptr<aio::queue<long>>,
                 std::shared_ptr<aio::lifo_queue<long>>, std::shared_ptr<aio::priority_queue<long>>>;

/// What a block ended with: nothing, or a `return` and its value.
using returned = std::optional<std::string>;

std::string show_bool(bool b) { return b ? "true" : "false"; }
std::string show(json const& value) {
  if (value.is_null()) return "none";
  if (value.is_boolean()) return show_bool(value.get<bool>());
  if (value.is_string()) return value.get<std::string>();
  return value.dump();
}

// ---- the interpreter

class interpreter {
 public:
  interpreter(json const& program, replay_loop& loop, long limit)
      : program_(program), loop_(loop), limit_(limit) {
    // In the order of the program: a condition may name a lock before it.
    for (auto const& [name, spec] : program.at("objects").items()) {
      if (spec.at("type") != "condition") variables_.insert_or_assign(name, make_object(name, spec));
    }
    for (auto const& [name, spec] : program.at("objects").items()) {
      if (spec.at("type") == "condition") variables_.insert_or_assign(name, make_object(name, spec));
    }
  }

  std::vector<std::string> run();

 private:
  struct source {
    std::string label;             // the instance's or the variable's name
    std::optional<value_task> coroutine;
    awaited existing = {};
  };

  variable make_object(std::string const& name, json const& spec);

  void log(std::string const& text) {
    if (frozen_) return;
    auto* const core = loop_.core().current;
    trace_.push_back(std::to_string(loop_.milliseconds()) + " " + (core ? core->name() : "loop") +
                     " " + text);
  }
  void stop(std::string const& word) {
    log(word);
    frozen_ = true;
    loop_.stop_at_next_wait(word);
  }

  // Coroutines.
  std::pair<std::string, value_task> instance(std::size_t index);
  value_task coroutine(std::string name, json const* body);
  aio::task<returned> block(json const* body, std::exception_ptr caught);
  aio::task<returned> statement(json const& st, std::exception_ptr caught);
  awaited start(std::pair<std::string, value_task> made);

  // Blocks.
  aio::task<returned> try_block(json const& st, std::exception_ptr caught);
  aio::task<returned> guarded(json const& st, std::exception_ptr caught);
  aio::task<returned> group_block(json const& st, std::exception_ptr caught);
  aio::task<returned> timeout_block(json const& st, std::exception_ptr caught);
  aio::task<returned> with_block(json const& st, std::exception_ptr caught);
  aio::task<returned> as_completed_block(json const& st);

  // Simple statements. A head is the words before the outcome; unset() is for operands that
  // were never assigned.
  struct prepared {
    std::string head;
    variable* on = nullptr;
    std::vector<source> sources;
    bool is_unset = false;
  };
  prepared prepare(json const& st);
  aio::task<> simple(json const& st);
  void simple_now(json const& st);
  bool is_sync(json const& st) const;
  std::string apply(json const& st, prepared& with);
  aio::task<std::string> apply_async(json const& st, prepared& with);
  std::string query(json const& st, variable& on);
  aio::task<> acquire(variable& on);
  void release(variable& on);
  void finish(json const& st, std::string const& head, std::string const& outcome);
  std::function<void()> callback(json const& st, std::string const& word);
  void run_in_callback(json const& body);
  bool begin_statement();
  bool assigned(json const& of) const { return of.contains("coro") || variables_.count(of.at("var")) > 0; }
  source make_source(json const& of);
  std::vector<any_future> handles(std::vector<source>& of, std::vector<awaited>& kept);

  json const& program_;
  replay_loop& loop_;
  long const limit_;
  long steps_ = 0;
  bool frozen_ = false;
  std::vector<std::string> trace_;
  std::map<std::size_t, int> instances_;
  std::map<std::string, variable> variables_;
  std::vector<variable> kept_;  // tasks and futures live until the end
};

variable interpreter::make_object(std::string const& name, json const& spec) {
  std::string const type = spec.at("type");
  if (type == "semaphore") return std::make_shared<aio::semaphore>(spec.at("value").get<long>());
  if (type == "bounded_semaphore") {
    return std::make_shared<aio::bounded_semaphore>(spec.at("value").get<long>());
  }
  if (type == "lock") return std::make_shared<aio::lock>();
  if (type == "event") return std::make_shared<aio::event>();
  if (type == "barrier") return std::make_shared<aio::barrier>(spec.at("parties").get<long>());
  if (type == "fifo_queue") return std::make_shared<aio::queue<long>>(spec.at("maxsize"));
  if (type == "lifo_queue") return std::make_shared<aio::lifo_queue<long>>(spec.at("maxsize"));
  if (type == "priority_queue") {
    return std::make_shared<aio::priority_queue<long>>(spec.at("maxsize").get<std::size_t>());
  }
  if (type == "condition") {
    if (!spec.contains("lock")) return std::make_shared<aio::condition>();
    return std::make_shared<aio::condition>(
        *std::get<std::shared_ptr<aio::lock>>(variables_.at(spec.at("lock"))));
  }
  auto const made = loop_.create_future<std::string>();
  return awaited{any_future(made), [made] { return made.result(); }, name, std::nullopt, made};
}

// ---- coroutines

std::pair<std::string, value_task> interpreter::instance(std::size_t index) {
  json const& spec = program_.at("coroutines").at(index);
  std::string name = spec.at("name").get<std::string>() + "." + std::to_string(++instances_[index]);
  value_task made = coroutine(name, &spec.at("body"));
  return {std::move(name), std::move(made)};
}

value_task interpreter::coroutine(std::string name, json const* body) {
  log("start " + name);
  auto const done = co_await aio::as_result(block(body, nullptr));
  if (!done.has_value()) {
    log("end " + name + ": !" + show(done.error()));
    done.rethrow();
  }
  std::string const value = done.value().value_or("none");
  log("end " + name + ": " + value);
  co_return value;
}

awaited interpreter::start(std::pair<std::string, value_task> made) {
  auto const handle = loop_.create_task(std::move(made.second)).set_name(made.first);
  awaited const entry{any_future(handle), [handle] { return handle.result(); }, made.first,
                      aio::any_task_handle(handle)};
  kept_.push_back(entry);
  return entry;
}

bool interpreter::begin_statement() {
  if (frozen_) return false;
  if (++steps_ <= limit_) return true;
  stop("LIMIT");
  return false;
}

aio::task<returned> interpreter::block(json const* body, std::exception_ptr caught) {
  for (json const& st : *body) {
    if (!begin_statement()) co_return std::nullopt;
    returned done = co_await statement(st, caught);
    if (done) co_return done;
  }
  co_return std::nullopt;
}

aio::task<returned> interpreter::statement(json const& st, std::exception_ptr caught) {
  std::string const op = st.at("op");
  if (op == "return") co_return show(st.value("value", json()));
  if (op == "reraise") {
    if (!caught) {
      log("reraise: nothing");
      co_return std::nullopt;
    }
    log("reraise: !" + show(caught));
    std::rethrow_exception(caught);
  }
  if (op == "repeat") {
    for (long i = 0; i < st.at("times").get<long>(); ++i) {
      returned done = co_await block(&st.at("body"), caught);
      if (done || frozen_) co_return done;
    }
    co_return std::nullopt;
  }
  if (op == "try") co_return co_await try_block(st, caught);
  if (op == "group") co_return co_await group_block(st, caught);
  if (op == "timeout") co_return co_await timeout_block(st, caught);
  if (op == "with") co_return co_await with_block(st, caught);
  if (op == "as_completed") co_return co_await as_completed_block(st);
  co_await simple(st);
  co_return std::nullopt;
}

// ---- blocks

aio::task<returned> interpreter::guarded(json const& st, std::exception_ptr caught) {
  auto done = co_await aio::as_result(block(&st.at("body"), caught));
  if (!done.has_value()) {
    error_text const error = describe(done.error());
    if (st.contains("except")) {
      for (json const& clause : st.at("except")) {
        std::string const type = clause.at("type");
        if (!catches(type, error.type)) continue;
        log("except " + type + ": " + error.text);
        co_return co_await block(&clause.at("body"), done.error());
      }
    }
    done.rethrow();
  }
  if (done.value() || !st.contains("else")) co_return done.value();
  co_return co_await block(&st.at("else"), caught);
}

aio::task<returned> interpreter::try_block(json const& st, std::exception_ptr caught) {
  auto done = co_await aio::as_result(guarded(st, caught));
  if (st.contains("finally") && !st.at("finally").empty()) {
    log("finally");
    co_await block(&st.at("finally"), caught);
  }
  co_return std::move(done).value();
}

aio::task<returned> interpreter::group_block(json const& st, std::exception_ptr caught) {
  std::string const name = st.at("as");
  auto const group = std::make_shared<aio::task_group>();
  variables_.insert_or_assign(name, group);
  kept_.push_back(group);
  auto const body = [&](aio::task_group&) -> aio::task<returned> {
    log("group " + name + ": entered");
    co_return co_await block(&st.at("body"), caught);
  };
  auto done = co_await aio::as_result(aio::with_task_group(*group, body));
  log("group " + name + ": " + (done.has_value() ? "ok" : "!" + show(done.error())));
  co_return std::move(done).value();
}

aio::task<returned> interpreter::timeout_block(json const& st, std::exception_ptr caught) {
  std::string const name = st.at("as");
  std::optional<aio::time_point> deadline;
  if (!st.at("ticks").is_null()) {
    deadline = loop_.time() + std::chrono::milliseconds(st.at("ticks").get<long>());
  }
  auto const limit = std::make_shared<aio::timeout>(deadline);
  variables_.insert_or_assign(name, limit);
  kept_.push_back(limit);
  auto const body = [&]() -> aio::task<returned> {
    log("timeout " + name + ": entered");
    co_return co_await block(&st.at("body"), caught);
  };
  auto done = co_await aio::as_result(aio::with_timeout(*limit, body));
  log("timeout " + name + " expired=" + show_bool(limit->expired()) + ": " +
      (done.has_value() ? "ok" : "!" + show(done.error())));
  co_return std::move(done).value();
}

aio::task<returned> interpreter::with_block(json const& st, std::exception_ptr caught) {
  std::string const name = st.at("on");
  variable& on = variables_.at(name);
  auto const body = [&]() -> aio::task<returned> {
    co_await acquire(on);
    log("with " + name + ": entered");
    auto done = co_await aio::as_result(block(&st.at("body"), caught));
    release(on);
    co_return std::move(done).value();
  };
  auto done = co_await aio::as_result(body());
  log("with " + name + ": " + (done.has_value() ? "ok" : "!" + show(done.error())));
  co_return std::move(done).value();
}

aio::task<returned> interpreter::as_completed_block(json const& st) {
  std::vector<source> sources;
  for (json const& each : st.at("of")) {
    if (assigned(each)) sources.push_back(make_source(each));
  }
  std::vector<awaited> children;
  std::vector<any_future> const futures = handles(sources, children);
  std::optional<std::chrono::duration<double>> limit;
  if (!st.at("ticks").is_null()) limit = std::chrono::milliseconds(st.at("ticks").get<long>());
  int number = 0;
  for (auto next : aio::as_completed(futures, limit)) {
    auto first = co_await aio::as_result(next.handle());
    std::string const head = "as_completed " + std::to_string(number++) + ": ";
    std::exception_ptr error = first.error();
    if (!error) {
      for (awaited const& child : children) {
        if (!(child.handle == first.value())) continue;
        try {
          log(head + child.result());
        } catch (...) {
          error = std::current_exception();
        }
        break;
      }
    }
    if (error) {
      log(head + "!" + show(error));
      if (describe(error).type == "Cancelled") std::rethrow_exception(error);
    }
  }
  log("as_completed: ok");
  co_return std::nullopt;
}

// ---- simple statements

interpreter::source interpreter::make_source(json const& of) {
  if (of.contains("coro")) {
    auto [name, made] = instance(of.at("coro"));
    return {name, std::move(made)};
  }
  std::string const name = of.at("var");
  return {name, std::nullopt, std::get<awaited>(variables_.at(name))};
}

std::vector<any_future> interpreter::handles(std::vector<source>& of, std::vector<awaited>& kept) {
  std::vector<any_future> made;
  for (source& each : of) {
    kept.push_back(each.coroutine ? start({each.label, std::move(*each.coroutine)}) : each.existing);
    made.push_back(kept.back().handle);
  }
  return made;
}

// The operands that stand in the head, in their order.
std::vector<std::string> const& fields(std::string const& op) {
  static std::map<std::string, std::vector<std::string>> const all{
      {"log", {"text"}},
      {"sleep", {"ticks"}},
      {"raise", {"type", "value"}},
      {"call", {"coro"}},
      {"self", {"into"}},
      {"spawn", {"coro"}},
      {"group_spawn", {"on", "coro"}},
      {"query", {"on", "what"}},
      {"gather", {"of"}},
      {"shield", {"of"}},
      {"wait_for", {"of", "ticks"}},
      {"wait", {"of", "mode", "ticks"}},
      {"reschedule", {"on", "ticks"}},
      {"call_soon", {"text"}},
      {"call_later", {"ticks", "text"}},
      {"add_done_callback", {"on", "text"}},
      {"set_result", {"on", "value"}},
      {"set_exception", {"on", "type", "value"}},
      {"cond_wait_for", {"on", "event"}},
      {"notify", {"on", "n"}},
      {"put", {"on", "value"}},
      {"put_nowait", {"on", "value"}},
      {"queue_shutdown", {"on", "immediate"}},
      {"uncancel", {}},
      {"cancelling", {}},
  };
  static std::vector<std::string> const only_on{"on"};
  auto const found = all.find(op);
  return found == all.end() ? only_on : found->second;
}

interpreter::prepared interpreter::prepare(json const& st) {
  std::string const op = st.at("op");
  prepared made;
  auto const& operands = fields(op);
  for (std::string const field : {"on", "event"}) {
    if (std::ranges::find(operands, field) == operands.end()) continue;
    std::string const name = st.at(field);
    if (variables_.count(name) == 0) {
      log(op + " " + name + ": unset");
      made.is_unset = true;
      return made;
    }
  }
  if (st.contains("on")) {
    auto const found = variables_.find(st.at("on"));
    if (found != variables_.end()) made.on = &found->second;
  }
  made.head = op;
  for (std::string const& field : operands) {
    if (field == "coro") {
      made.sources.push_back(make_source(st));
      made.head += " " + made.sources.back().label;
    } else if (field == "of" && st.at("of").is_array()) {
      for (json const& each : st.at("of")) {
        if (assigned(each)) made.sources.push_back(make_source(each));
      }
    } else if (field == "of") {
      if (!assigned(st.at("of"))) {
        log(op + " " + st.at("of").at("var").get<std::string>() + ": unset");
        made.is_unset = true;
        return made;
      }
      made.sources.push_back(make_source(st.at("of")));
      made.head += " " + made.sources.back().label;
    } else {
      made.head += " " + show(st.value(field, json()));
    }
  }
  return made;
}

bool interpreter::is_sync(json const& st) const {
  static std::set<std::string> const suspending{
      "sleep", "call", "await", "wait_for", "wait", "acquire", "event_wait", "cond_wait",
      "cond_wait_for", "put", "get", "join", "barrier_wait", "barrier_abort", "barrier_reset"};
  std::string const op = st.at("op");
  if (op == "gather" || op == "shield") return st.contains("into");
  return suspending.count(op) == 0;
}

aio::task<> interpreter::simple(json const& st) {
  if (is_sync(st)) {
    simple_now(st);
    co_return;
  }
  prepared with = prepare(st);
  if (with.is_unset) co_return;
  auto const outcome = co_await aio::as_result(apply_async(st, with));
  if (!outcome.has_value()) {
    log(with.head + ": !" + show(outcome.error()));
    outcome.rethrow();
  }
  log(with.head + ": " + outcome.value());
}

void interpreter::simple_now(json const& st) {
  prepared with = prepare(st);
  if (with.is_unset) return;
  std::string outcome;
  try {
    outcome = apply(st, with);
  } catch (...) {
    log(with.head + ": !" + show(std::current_exception()));
    throw;
  }
  log(outcome.empty() ? with.head : with.head + ": " + outcome);
}

std::function<void()> interpreter::callback(json const& st, std::string const& word) {
  return [this, text = word + " " + st.at("text").get<std::string>(),
          body = st.contains("body") ? &st.at("body") : nullptr] {
    log(text);
    if (body) run_in_callback(*body);
  };
}

void interpreter::run_in_callback(json const& body) {
  for (json const& st : body) {
    if (!begin_statement()) return;
    if (!is_sync(st)) throw std::runtime_error("a callback cannot " + st.dump());
    simple_now(st);
  }
}

[[noreturn]] void raise(json const& st) {
  std::string const type = st.at("type");
  json const value = st.value("value", json());
  if (type == "Cancelled") {
    if (value.is_null()) throw aio::cancelled_error();
    throw aio::cancelled_error(show(value));
  }
  throw raised(type, value.is_null() ? "" : show(value));
}

std::string interpreter::apply(json const& st, prepared& with) {
  std::string const op = st.at("op");
  auto const keep = [&](variable made) {
    kept_.push_back(made);
    if (st.contains("into")) variables_.insert_or_assign(st.at("into").get<std::string>(), made);
  };
  if (op == "log") return "";
  if (op == "raise") raise(st);
  if (op == "self") {
    aio::any_task_handle const self(*loop_.core().current);
    for (variable const& each : kept_) {
      if (auto const* entry = std::get_if<awaited>(&each); entry && entry->task && *entry->task == self) {
        variables_.insert_or_assign(st.at("into").get<std::string>(), *entry);
        break;
      }
    }
    return "ok";
  }
  if (op == "spawn") {
    source& from = with.sources.at(0);
    keep(start({from.label, std::move(*from.coroutine)}));
    return "ok";
  }
  if (op == "group_spawn") {
    source& from = with.sources.at(0);
    auto const handle = std::get<std::shared_ptr<aio::task_group>>(*with.on)
                            ->create_task(std::move(*from.coroutine))
                            .set_name(from.label);
    keep(awaited{any_future(handle), [handle] { return handle.result(); }, from.label,
                 aio::any_task_handle(handle)});
    return "ok";
  }
  if (op == "cancel") {
    any_future const& on = std::get<awaited>(*with.on).handle;
    return show_bool(st.contains("msg") ? on.cancel(show(st.at("msg"))) : on.cancel());
  }
  if (op == "uncancel") return std::to_string(loop_.core().current->uncancel());
  if (op == "cancelling") return std::to_string(loop_.core().current->cancelling());
  if (op == "query") return query(st, *with.on);
  if (op == "gather") {
    std::vector<awaited> children;
    std::vector<any_future> const futures = handles(with.sources, children);
    auto const list = [](auto const& results, std::vector<awaited> const& of) {
      std::string text;
      for (std::size_t i = 0; i < of.size(); ++i) {
        if (i > 0) text += ",";
        if constexpr (requires { results[i].has_value(); }) {
          text += results[i].has_value() ? of[i].value() : show(results[i].error());
        } else {
          text += of[i].value();
        }
      }
      return "[" + text + "]";
    };
    // Shared: gatherings of gatherings would double with each copy.
    auto const of = std::make_shared<std::vector<awaited> const>(std::move(children));
    auto const store = [&](auto const& handle) {
      keep(awaited{any_future(handle),
                   [handle, of, list] { return list(handle.result(), *of); },
                   st.at("into").get<std::string>()});
    };
    if (st.value("return_exceptions", false)) {
      store(aio::gather(aio::return_exceptions, futures).as_future());
    } else {
      store(aio::gather(futures).as_future());
    }
    return "ok";
  }
  if (op == "shield") {
    source& from = with.sources.at(0);
    awaited inner = from.coroutine ? start({from.label, std::move(*from.coroutine)}) : from.existing;
    if (!inner.handle.done()) {
      aio::shielded<void, aio::detail::future_core> const outer(
          aio::detail::handle_access::state(inner.handle));
      inner = awaited{any_future(outer), inner.value, st.at("into").get<std::string>()};
    }
    keep(inner);
    return "ok";
  }
  if (op == "reschedule") {
    std::optional<aio::time_point> deadline;
    if (!st.at("ticks").is_null()) {
      deadline = loop_.time() + std::chrono::milliseconds(st.at("ticks").get<long>());
    }
    std::get<std::shared_ptr<aio::timeout>>(*with.on)->reschedule(deadline);
    return "ok";
  }
  if (op == "call_soon") {
    keep(loop_.call_soon(callback(st, "callback")));
    return "ok";
  }
  if (op == "call_later") {
    keep(loop_.call_later(std::chrono::milliseconds(st.at("ticks").get<long>()),
                          callback(st, "callback")));
    return "ok";
  }
  if (op == "cancel_handle") {
    std::get<aio::callback_handle>(*with.on).cancel();
    return "ok";
  }
  if (op == "add_done_callback") {
    std::get<awaited>(*with.on).handle.add_done_callback(callback(st, "done"));
    return "ok";
  }
  if (op == "set_result") {
    std::get<awaited>(*with.on).settable.value().set_result(show(st.at("value")));
    return "ok";
  }
  if (op == "set_exception") {
    std::exception_ptr error;
    try {
      raise(st);
    } catch (...) {
      error = std::current_exception();
    }
    std::get<awaited>(*with.on).settable.value().set_exception(error);
    return "ok";
  }
  if (op == "release") {
    release(*with.on);
    return "ok";
  }
  if (op == "event_set" || op == "event_clear") {
    auto const& event = std::get<std::shared_ptr<aio::event>>(*with.on);
    op == "event_set" ? event->set() : event->clear();
    return "ok";
  }
  if (op == "notify" || op == "notify_all") {
    auto const& condition = std::get<std::shared_ptr<aio::condition>>(*with.on);
    if (op == "notify") {
      condition->notify(st.at("n").get<std::size_t>());
    } else {
      condition->notify_all();
    }
    return "ok";
  }
  return std::visit(
      [&](auto& queue) -> std::string {
        if constexpr (requires { queue->get_nowait(); }) {
          if (op == "put_nowait") return queue->put_nowait(st.at("value").get<long>()), "ok";
          if (op == "get_nowait") return std::to_string(queue->get_nowait());
          if (op == "task_done") return queue->task_done(), "ok";
          if (op == "queue_shutdown") return queue->shutdown(st.at("immediate").get<bool>()), "ok";
        }
        throw std::runtime_error("unknown statement " + st.dump());
      },
      *with.on);
}

aio::task<std::string> interpreter::apply_async(json const& st, prepared& with) {
  std::string const op = st.at("op");
  if (op == "sleep") {
    co_await aio::sleep_for(std::chrono::milliseconds(st.at("ticks").get<long>()));
    co_return "ok";
  }
  if (op == "call") co_return co_await std::move(*with.sources.at(0).coroutine);
  if (op == "await") {
    awaited const on = std::get<awaited>(*with.on);
    co_await on.handle;
    co_return on.value();
  }
  if (op == "gather") {
    std::vector<awaited> children;
    std::vector<any_future> const futures = handles(with.sources, children);
    std::string text;
    if (st.value("return_exceptions", false)) {
      auto const results = co_await aio::gather(aio::return_exceptions, futures);
      for (std::size_t i = 0; i < results.size(); ++i) {
        text += (i > 0 ? "," : "") +
                (results[i].has_value() ? children[i].value() : show(results[i].error()));
      }
    } else {
      co_await aio::gather(futures);
      for (std::size_t i = 0; i < children.size(); ++i) text += (i > 0 ? "," : "") + children[i].value();
    }
    co_return "[" + text + "]";
  }
  if (op == "shield") {
    source& from = with.sources.at(0);
    awaited const inner =
        from.coroutine ? start({from.label, std::move(*from.coroutine)}) : from.existing;
    aio::shielded<void, aio::detail::future_core> const outer(
        aio::detail::handle_access::state(inner.handle));
    co_await outer;
    co_return inner.value();
  }
  if (op == "wait_for") {
    source& from = with.sources.at(0);
    bool const limited = !st.at("ticks").is_null();
    auto const limit = std::chrono::milliseconds(limited ? st.at("ticks").get<long>() : 0);
    if (from.coroutine) {
      if (!limited) co_return co_await aio::wait_for(std::move(*from.coroutine), std::nullopt);
      if (limit > 0ms) co_return co_await aio::wait_for(std::move(*from.coroutine), limit);
      // wait_for makes it a task, whose name shows.
      from.existing = start({from.label, std::move(*from.coroutine)});
    }
    if (limited) {
      co_await aio::wait_for(from.existing.handle, limit);
    } else {
      co_await aio::wait_for(from.existing.handle, std::nullopt);
    }
    co_return from.existing.value();
  }
  if (op == "wait") {
    std::vector<awaited> children;
    std::vector<any_future> const futures = handles(with.sources, children);
    std::string const mode = st.at("mode");
    aio::wait_until const until = mode == "FIRST_COMPLETED"   ? aio::first_completed
                                  : mode == "FIRST_EXCEPTION" ? aio::first_exception
                                                              : aio::all_completed;
    std::optional<std::chrono::duration<double>> limit;
    if (!st.at("ticks").is_null()) limit = std::chrono::milliseconds(st.at("ticks").get<long>());
    auto const split = co_await aio::wait(futures, until, limit);
    auto const names = [&](std::vector<any_future> const& part) {
      std::vector<std::string> found;
      for (any_future const& each : part) {
        for (awaited const& child : children) {
          if (!(child.handle == each)) continue;
          found.push_back(child.display_name());
          break;
        }
      }
      std::ranges::sort(found);
      std::string text;
      for (auto const& name : found) text += (text.empty() ? "" : ",") + name;
      return text;
    };
    co_return "done=[" + names(split.done) + "] pending=[" + names(split.pending) + "]";
  }
  if (op == "acquire") {
    co_await acquire(*with.on);
    co_return "true";
  }
  if (op == "event_wait") {
    co_await std::get<std::shared_ptr<aio::event>>(*with.on)->wait();
    co_return "true";
  }
  if (op == "cond_wait") {
    co_await std::get<std::shared_ptr<aio::condition>>(*with.on)->wait();
    co_return "true";
  }
  if (op == "cond_wait_for") {
    auto const event = std::get<std::shared_ptr<aio::event>>(variables_.at(st.at("event")));
    auto const predicate = [raw = event.get()] { return raw->is_set(); };
    bool const value =
        co_await std::get<std::shared_ptr<aio::condition>>(*with.on)->wait_for(predicate);
    co_return show_bool(value);
  }
  if (op == "barrier_wait") {
    std::size_t const index = co_await std::get<std::shared_ptr<aio::barrier>>(*with.on)->wait();
    co_return std::to_string(index);
  }
  if (op == "barrier_abort") {
    co_await std::get<std::shared_ptr<aio::barrier>>(*with.on)->abort();
    co_return "ok";
  }
  if (op == "barrier_reset") {
    co_await std::get<std::shared_ptr<aio::barrier>>(*with.on)->reset();
    co_return "ok";
  }
  auto const on_queue = [](json const& of, auto const& queue) -> aio::task<std::string> {
    std::string const what = of.at("op");
    if (what == "put") {
      co_await queue->put(of.at("value").template get<long>());
      co_return "ok";
    }
    if (what == "get") {
      long const item = co_await queue->get();
      co_return std::to_string(item);
    }
    co_await queue->join();
    co_return "ok";
  };
  if (auto* fifo = std::get_if<std::shared_ptr<aio::queue<long>>>(with.on)) {
    co_return co_await on_queue(st, *fifo);
  }
  if (auto* lifo = std::get_if<std::shared_ptr<aio::lifo_queue<long>>>(with.on)) {
    co_return co_await on_queue(st, *lifo);
  }
  co_return co_await on_queue(st, std::get<std::shared_ptr<aio::priority_queue<long>>>(*with.on));
}

aio::task<> interpreter::acquire(variable& on) {
  if (auto* semaphore = std::get_if<std::shared_ptr<aio::semaphore>>(&on)) {
    auto permit = co_await (*semaphore)->acquire();
    permit.detach();
  } else if (auto* bounded = std::get_if<std::shared_ptr<aio::bounded_semaphore>>(&on)) {
    auto permit = co_await (*bounded)->acquire();
    permit.detach();
  } else if (auto* lock = std::get_if<std::shared_ptr<aio::lock>>(&on)) {
    auto guard = co_await (*lock)->acquire();
    guard.detach();
  } else {
    auto guard = co_await std::get<std::shared_ptr<aio::condition>>(on)->acquire();
    guard.detach();
  }
}

void interpreter::release(variable& on) {
  std::visit(
      [](auto& object) {
        if constexpr (requires { object->release(); }) object->release();
      },
      on);
}

std::string interpreter::query(json const& st, variable& on) {
  std::string const what = st.at("what");
  try {
    return std::visit(
        [&](auto& object) -> std::string {
          using type = std::decay_t<decltype(object)>;
          if constexpr (std::is_same_v<type, awaited>) {
            if (what == "done") return show_bool(object.handle.done());
            if (what == "cancelled") return show_bool(object.handle.cancelled());
            if (what == "result") return object.result();
            if (what == "cancelling") {
              return object.task ? std::to_string(object.task->cancelling()) : "!AttributeError()";
            }
            if (what == "exception") {
              auto const error = object.handle.exception();
              return error ? show(error) : "none";
            }
          } else if constexpr (requires { object->expired(); }) {
            if (what == "expired") return show_bool(object->expired());
          } else if constexpr (requires { object->n_waiting(); }) {
            if (what == "n_waiting") return std::to_string(object->n_waiting());
            if (what == "broken") return show_bool(object->broken());
            if (what == "parties") return std::to_string(object->parties());
          } else if constexpr (requires { object->qsize(); }) {
            if (what == "qsize") return std::to_string(object->qsize());
            if (what == "empty") return show_bool(object->empty());
            if (what == "full") return show_bool(object->full());
            if (what == "maxsize") return std::to_string(object->maxsize());
          } else if constexpr (requires { object->is_set(); }) {
            if (what == "is_set") return show_bool(object->is_set());
          } else if constexpr (requires { object->locked(); }) {
            if (what == "locked") return show_bool(object->locked());
          } else if constexpr (requires { object.cancelled(); }) {
            if (what == "cancelled") return show_bool(object.cancelled());
          }
          throw std::runtime_error("unknown query " + st.dump());
        },
        on);
  } catch (...) {
    return "!" + show(std::current_exception());
  }
}

// ---- a program

std::vector<std::string> interpreter::run() {
  loop_.set_exception_handler([this](aio::exception_context const& context) {
    if (!context.exception || context.message.find("never read") != std::string::npos) return;
    log("unhandled !" + show(context.exception));
  });
  try {
    auto made = instance(program_.value("main", std::size_t{0}));
    std::string const name = made.first;
    auto const main = loop_.create_task(std::move(made.second)).set_name(name);
    awaited const entry{any_future(main), [main] { return main.result(); }, name,
                        aio::any_task_handle(main)};
    kept_.push_back(entry);
    variables_.insert_or_assign("main", entry);
    std::string outcome;
    try {
      outcome = loop_.run_until_complete(main);
    } catch (stopped const&) {
      throw;
    } catch (...) {
      outcome = "!" + show(std::current_exception());
    }
    log("main: " + outcome);
    std::string pending;
    for (auto const& each : loop_.all()) pending += (pending.empty() ? "" : ",") + each.name();
    log("pending: [" + pending + "]");
    if (loop_.has_tasks()) loop_.core().cancel_present_tasks();
    log("finished");
  } catch (stopped const& end) {
    log(end.word);  // unless it was recorded already
  }
  frozen_ = true;
  for (int rounds = 0; loop_.has_tasks(); ++rounds) {
    loop_.forget_stop();
    if (rounds == 100) {
      loop_.abandon_tasks();
      break;
    }
    try {
      loop_.cancel_all_tasks();
    } catch (stopped const&) {
    }
  }
  return trace_;
}

std::vector<std::string> replay(json const& program, long limit) {
  replay_loop loop;
  interpreter running(program, loop, limit);
  return running.run();
}

int batch(std::string const& in, std::string const& out, long limit) {
  std::ifstream programs(in);
  std::ofstream traces(out);
  for (std::string line; std::getline(programs, line);) {
    json const program = json::parse(line);
    traces << json{{"name", program.at("name")}, {"trace", replay(program, limit)}}.dump() << '\n';
  }
  return programs.bad() || !traces ? 1 : 0;
}

int check(std::string const& in, std::string const& expected, long limit) {
  std::ifstream programs(in);
  std::ifstream traces(expected);
  long same = 0;
  long different = 0;
  std::string line;
  std::string answer;
  while (std::getline(programs, line)) {
    if (!std::getline(traces, answer)) throw std::runtime_error("there are fewer traces than programs");
    json const program = json::parse(line);
    auto const want = json::parse(answer).at("trace").get<std::vector<std::string>>();
    auto const got = replay(program, limit);
    if (got == want) {
      ++same;
      continue;
    }
    ++different;
    std::size_t at = 0;
    while (at < std::min(got.size(), want.size()) && got[at] == want[at]) ++at;
    std::cout << program.at("name").get<std::string>() << ", line " << at + 1 << ":\n  expected "
              << (at < want.size() ? want[at] : "the end") << "\n  got      "
              << (at < got.size() ? got[at] : "the end") << '\n';
  }
  std::cout << same << " traces as expected, " << different << " differ\n";
  return different == 0 && same > 0 ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) {
  std::vector<std::string> const args(argv + 1, argv + argc);
  long const limit = 5000;
  try {
    if (args.size() == 2 && args[0] == "run") {
      std::ifstream file(args[1]);
      for (auto const& line : replay(json::parse(file), limit)) std::cout << line << '\n';
      return 0;
    }
    if (args.size() == 3 && args[0] == "batch") return batch(args[1], args[2], limit);
    if (args.size() == 3 && args[0] == "check") return check(args[1], args[2], limit);
  } catch (std::exception const& e) {
    std::cerr << "aio_replay: " << e.what() << '\n';
    return 1;
  }
  std::cerr << "usage: aio_replay run PROGRAM.json | batch IN.jsonl OUT.jsonl | check IN.jsonl "
               "EXPECTED.jsonl\n";
  return 2;
}
