// SPDX-License-Identifier: MIT
#pragma once

// Jobs that wait for their turn, and what became of them.

#include <aio/aio.hpp>

#include <charconv>
#include <chrono>
#include <compare>
#include <cstddef>
#include <deque>
#include <map>
#include <memory>
#include <stdexcept>
#include <string>
#include <utility>

struct job_limits {
  int workers = 4;
  std::chrono::duration<double> time{60};   // for each job
  std::chrono::duration<double> drain{30};  // for all that are left at the end
  std::size_t waiting = 1000;
  std::size_t results = 10'000;  // so many are kept
};

struct job {
  enum class kind { command,
                    primes };

  job(kind of, std::string given) : what(of), text(std::move(given)) {}
  kind what;
  std::string text;
  std::string state = "queued";  // queued, running, done STATUS OUTPUT, failed REASON, cancelled
  aio::event over;
};

// A function that computes, and is asked to stop when it takes too long.
inline int count_primes(aio::stop_token stop, int below) {
  int found = 0;
  for (int n = 2; n < below && !stop.stop_requested(); ++n) {
    bool prime = true;
    for (int divisor = 2; divisor <= n / divisor && prime; ++divisor) prime = n % divisor != 0;
    found += prime;
  }
  return found;
}

inline aio::task<std::string> run_in_thread(std::string const& text) {
  int below = 0;
  auto const [end, error] = std::from_chars(text.data(), text.data() + text.size(), below);
  if (error != std::errc() || end != text.data() + text.size()) throw std::runtime_error("not a number");
  co_return "done 0 " + std::to_string(co_await aio::to_thread(count_primes, below));
}

// The shell leads a group. When `shell` goes, by a timeout for example, the group is killed, and the shell reaped.
inline aio::task<std::string> run_as_process(std::string const& command) {
  constexpr std::size_t most = 4096;
  auto const options =
      aio::process_options().in(aio::stdio::devnull()).out(aio::stdio::pipe()).err(aio::stdio::merge());
  auto shell = co_await aio::create_subprocess_shell(options, command);
  std::string output;
  while (output.size() < most) {  // run_process() would take whatever comes
    auto const piece = co_await shell.out().read(most - output.size());
    if (piece.empty()) break;
    output += piece;
  }
  if (output.size() == most) shell.kill();
  int const status = co_await shell.wait();
  if (output.ends_with('\n')) output.pop_back();
  std::string line = "done " + std::to_string(status);
  if (!output.empty()) line += ' ';
  for (char const c : output) line += c == '\n' ? std::string("\\n") : std::string(1, c);
  co_return line;
}

// Outlives everybody who waits for one of its jobs: make it outside of run().
class job_queue {
 public:
  explicit job_queue(job_limits const& how) : how_(how) {}

  // The smallest priority first, and of the same the first that came. Gives its number, from 1 on.
  // Throws: std::runtime_error, if it is not taken.
  int submit(int priority, job::kind what, std::string text) {
    if (closed_) throw std::runtime_error("shutting down");
    if (waiting_.qsize() >= how_.waiting) throw std::runtime_error("too many jobs");
    int const number = ++last_;
    waiting_.put_nowait({priority, number});
    jobs_.emplace(number, std::make_shared<job>(what, std::move(text)));
    return number;
  }

  // Null, if it is not known, or not any more.
  std::shared_ptr<job> find(int number) const {
    auto const found = jobs_.find(number);
    return found == jobs_.end() ? nullptr : found->second;
  }
  bool closed() const { return closed_; }
  std::size_t left() const { return jobs_.size() - over_.size(); }

  // Runs jobs, until all are done behind close(). Cancelled: so are all that are left.
  aio::task<> work() {
    co_await aio::with_finally(
        [this]() -> aio::task<> {
          co_await aio::with_task_group([this](aio::task_group& workers) -> aio::task<> {
            for (int n = 0; n < how_.workers; ++n) workers.create_task(&job_queue::work_alone, this);
            co_return;
          });
        },
        [this] { cancel_rest(); });
  }
  void close() {
    closed_ = true;
    waiting_.shutdown();
  }
  job_limits const& limits() const { return how_; }

 private:
  struct entry {
    int priority;
    int number;
    auto operator<=>(entry const&) const = default;
  };

  static aio::task<std::string> run_job(job const& next) {
    if (next.what == job::kind::primes) return run_in_thread(next.text);
    return run_as_process(next.text);
  }

  aio::task<> work_alone() {
    while (auto const next = co_await waiting_.next()) {
      auto const here = jobs_.at(next->number);
      here->state = "running";
      auto const ended = co_await aio::as_result(aio::wait_for(run_job(*here), how_.time));
      if (ended.cancelled()) ended.rethrow();  // work() says so to who waits
      if (ended) {
        is_over(next->number, ended.value());
      } else {
        bool const late = ended.error<aio::timeout_error>() != nullptr;
        is_over(next->number, late ? "failed took too long" : "failed " + aio::describe(ended.error()));
      }
    }
  }

  void is_over(int number, std::string state) {
    auto const here = jobs_.at(number);
    here->state = std::move(state);
    here->over.set();
    over_.push_back(number);
    if (over_.size() <= how_.results) return;
    jobs_.erase(over_.front());  // who waits for it has it still
    over_.pop_front();
  }
  void cancel_rest() {
    close();
    auto const all = jobs_;  // is_over() may erase
    for (auto const& [number, each] : all) {
      if (!each->over.is_set()) is_over(number, "cancelled");
    }
  }

  job_limits how_;
  int last_ = 0;
  bool closed_ = false;
  aio::priority_queue<entry> waiting_;
  std::map<int, std::shared_ptr<job>> jobs_;
  std::deque<int> over_;
};
