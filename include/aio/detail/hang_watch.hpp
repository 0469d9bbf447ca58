// SPDX-License-Identifier: MIT
#pragma once

// Looks from time to time whether a loop seems to hang.

#include "aio/config.hpp"
#include "aio/detail/keywords_off.hpp"  // before Asio

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "aio/detail/loop_core.hpp"
#include "aio/detail/source_text.hpp"
#include "aio/detail/task_core.hpp"
#include "aio/event_loop.hpp"
#include "aio/task_tree.hpp"
#pragma GCC visibility push(default)

namespace aio::inline AIO_ABI::detail {

/// Tells the exception handler of a loop, with all its tasks, when
///  - some have not ended twice in a row that it looked, though a cancellation was requested of them; of each once;
///  - nothing has run since it looked, no task waits for a time, and neither I/O nor threads of aio are outstanding;
///    once for each time that this begins.
template <class Loop = event_loop>  // as what is AIO_ON_DEMAND
class hang_watch : public std::enable_shared_from_this<hang_watch<Loop>> {
 public:
  /// Until the loop is closed.
  static void start(Loop& on, std::chrono::nanoseconds every) { std::make_shared<hang_watch<Loop>>(on, every)->arm(); }

  hang_watch(Loop& on, std::chrono::nanoseconds every) : loop_(on), every_(every) {}
  hang_watch(hang_watch const&) = delete;

 private:
  void arm() {
    loop_.call_later(every_, [self = this->shared_from_this()] {
      self->look_for_idleness();
      self->look_for_deaf_tasks();
      self->arm();
    });
  }

  void look_for_idleness() {
    loop_core& core = loop_access::core(loop_);
    bool const nothing_ran = core.iteration() == seen_iteration_ + 1;
    seen_iteration_ = core.iteration();
    bool const something_to_come = !core.nothing_to_run() ||  // a thread or Asio may have woken a task just now
                                   core.next_deadline() != (time_point::max)() || core.waits_for_outside();
    if (!nothing_ran || something_to_come || core.tasks.empty()) {
      idle_told_ = false;
    } else if (!std::exchange(idle_told_, true)) {
      tell("nothing has run for " + detail::seconds_text(every_) +
           ", and nothing that aio knows of will wake one of these tasks");
    }
  }

  void look_for_deaf_tasks() {
    // Both by their numbers, which rise in the order of creation.
    std::vector<std::uint64_t> asked;
    std::vector<std::uint64_t> told;
    std::string deaf;
    std::size_t more = 0;
    scheduler& of = loop_access::core(loop_);
    for (task_core* task = of.tasks.front(); task; task = of.tasks.after(*task)) {
      if (task->cancelling() == 0) continue;
      asked.push_back(task->number());
      if (!std::binary_search(asked_.begin(), asked_.end(), task->number())) continue;
      if (!std::binary_search(told_.begin(), told_.end(), task->number())) {
        if (deaf.size() < 100) {
          deaf += (deaf.empty() ? "" : ", ") + task->name();
        } else {
          ++more;
        }
      }
      told.push_back(task->number());
    }
    asked_ = std::move(asked);
    told_ = std::move(told);
    if (more != 0) deaf += " and " + std::to_string(more) + " more";
    if (deaf.empty()) return;
    tell("asked to cancel more than " + detail::seconds_text(every_) + " ago, but not ended: " + deaf +
         "; of these tasks");
  }

  void tell(std::string const& what) {
    loop_.call_exception_handler({.message = what + ":\n" + detail::list_tasks(loop_access::core(loop_))});
  }
  Loop& loop_;
  std::chrono::nanoseconds const every_;
  std::uint64_t seen_iteration_ = 0;
  bool idle_told_ = false;
  std::vector<std::uint64_t> asked_;  // of whom a cancellation was requested when it looked last
  std::vector<std::uint64_t> told_;   // those of them that were told of, then or before
};

}  // namespace aio::inline AIO_ABI::detail

#pragma GCC visibility pop

#include "aio/detail/keywords_back.hpp"
