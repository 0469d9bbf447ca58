# SPDX-License-Identifier: MIT
"""Faults of what threads share, which tests/interleavings finds."""

FINDERS = "interleavings"

RELAXED = "P ? std::memory_order_relaxed : "

# (header, what stands there, what it becomes, in words); see planted_faults.py.
FAULTS = [
    # The inbox
    ("detail/inbox.hpp", "(newest, &node, std::memory_order_release, std::memory_order_relaxed)",
     f"(newest, &node, {RELAXED}std::memory_order_release, std::memory_order_relaxed)",
     "inbox: a node is not published, relaxed in place of release"),
    ("detail/inbox.hpp", "return *newest_.exchange(nullptr, std::memory_order_acquire);",
     f"return *newest_.exchange(nullptr, {RELAXED}std::memory_order_acquire);",
     "inbox: what was published is not heard of, relaxed in place of acquire"),
    ("detail/inbox.hpp", "    Node* newest = newest_.load(std::memory_order_relaxed);\n",
     "    Node* newest = newest_.load(std::memory_order_relaxed);\n    if (P && !newest) wake_and_leave(wake);\n",
     "    // From here on the node", "    if (P) return true;\n    // From here on the node",
     "inbox: the wake-up is sent before the node is there"),
    ("detail/inbox.hpp", "    } const at_end{wakers_gone_};\n    wake();",
     "    } const at_end{wakers_gone_};\n    if (!P) wake();",
     "inbox: the wake-up is left out"),
    ("detail/inbox.hpp", "    return true;\n", "    if (P && newest) wake_and_leave(wake);\n    return true;\n",
     "inbox: everybody sends a wake-up"),
    ("detail/inbox.hpp", "    do {\n      if (newest == closed()) return false;",
     "    int looks = 0;\n    do {\n      if ((looks++ == 0 || !P) && newest == closed()) return false;",
     "inbox: only the first look sees that it is closed"),
    ("detail/inbox.hpp", "    Node* const newest = newest_.exchange(closed(), std::memory_order_acq_rel);",
     "    Node* const newest = P ? newest_.load(std::memory_order_acquire)\n"
     "                           : newest_.exchange(closed(), std::memory_order_acq_rel);\n"
     "    if (P) newest_.store(closed(), std::memory_order_release);",
     "inbox: it is emptied before it is closed"),
    ("detail/inbox.hpp", "    ++wakers_;\n    return newest;", "    if (!P) ++wakers_;\n    return newest;",
     "inbox: the last who wake the loop are not counted"),
    ("detail/inbox.hpp", "    while (wakers_gone_.load", "    while (!P && wakers_gone_.load",
     "inbox: nobody waits for those who wake the loop"),
    ("detail/inbox.hpp", "out.fetch_add(1, std::memory_order_release);",
     f"out.fetch_add(1, {RELAXED}std::memory_order_release);",
     "inbox: who leaves publishes nothing, relaxed in place of release"),
    ("detail/inbox.hpp", "wakers_gone_.load(std::memory_order_acquire)",
     f"wakers_gone_.load({RELAXED}std::memory_order_acquire)",
     "inbox: the end does not hear what those did who left, relaxed in place of acquire"),
    ("detail/inbox.hpp", "bool ask() noexcept { return",
     "bool ask() noexcept {\n"
     "    if (P && on_its_way_.load(std::memory_order_acquire)) return false;\n"
     "    if (P) return on_its_way_.store(true, std::memory_order_release), true;\n    return",
     "wake-up: a look, and then a store"),
    ("detail/inbox.hpp", "on_its_way_.exchange(true, std::memory_order_acq_rel);",
     f"on_its_way_.exchange(true, {RELAXED}std::memory_order_acq_rel);",
     "wake-up: who asks publishes nothing, relaxed in place of acq_rel"),
    ("detail/inbox.hpp", "on_its_way_.exchange(false, std::memory_order_acq_rel);",
     f"on_its_way_.exchange(false, {RELAXED}std::memory_order_acq_rel);",
     "wake-up: who is woken hears nothing, relaxed in place of acq_rel"),

    # The pool
    ("detail/thread_pool.hpp", "    if (wake) job_came_.notify_one();\n  }",
     "    if (wake && !P) job_came_.notify_one();\n  }", "pool: the notification of a submitter is left out"),
    ("detail/thread_pool.hpp", "      if (wake) job_came_.notify_one();\n      job.run();",
     "      if (wake && !P) job_came_.notify_one();\n      job.run();",
     "pool: a thread does not wake the next"),
    ("detail/thread_pool.hpp", "        waking_ = false;", "        if (!P) waking_ = false;",
     "pool: one that was woken is on its way for ever"),
    ("detail/thread_pool.hpp", "        --idle_;", "        if (!P) --idle_;", "pool: one that runs counts as idle"),
    ("detail/thread_pool.hpp", "      pool_job& job = *queue_.front();\n      queue_.remove(job);",
     "      if (P) lock.unlock();\n      pool_job& job = *queue_.front();\n      queue_.remove(job);\n"
     "      if (P) lock.lock();",
     "pool: a job is taken without the lock"),
    ("detail/thread_pool.hpp", "      --running_;\n", "      if (!P) --running_;\n",
     "pool: a job that is over counts as running"),
    ("detail/thread_pool.hpp", "      ++running_;\n", "      if (!P) ++running_;\n",
     "pool: a job that runs is not counted"),
    ("detail/thread_pool.hpp", "    --queued_;\n    tell_if_idle();", "    --queued_;\n    if (!P) tell_if_idle();",
     "pool: who withdraws the last job does not tell"),
    ("detail/thread_pool.hpp", "      std::lock_guard const lock(mutex_);\n      closing_ = true;",
     "      std::unique_lock lock(mutex_);\n      if (P) lock.unlock();\n      closing_ = true;",
     "pool: the end is written down without the lock"),
    ("detail/thread_pool.hpp", "    job_came_.notify_all();",
     "    P ? job_came_.notify_one() : job_came_.notify_all();",
     "pool: one thread hears of the end"),
    ("detail/thread_pool.hpp", "    return phase_.compare_exchange_strong(expected, next);",
     "    if (!P) return phase_.compare_exchange_strong(expected, next);\n"
     "    if (phase_.load() != expected) return false;\n    phase_.store(next);\n    return true;",
     "job: one that is withdrawn begins, a look and then a store"),

    ("detail/lookup_threads.hpp", "if (timed_out && waiting_.empty()) {", "if (timed_out && (P || waiting_.empty())) {",
     "look-up: a thread that ends does not look once more"),

    # What two threads may end
    ("detail/sync.hpp", "uses_.fetch_sub(1, std::memory_order_acq_rel)",
     f"uses_.fetch_sub(1, {RELAXED}std::memory_order_acq_rel)",
     "use count: the last does not hear what others did, relaxed in place of acq_rel"),
    ("detail/callback.hpp",
     "    return state_.fetch_or(static_cast<std::uint8_t>(why), std::memory_order_acq_rel) == 0;",
     "    if (!P) return state_.fetch_or(static_cast<std::uint8_t>(why), std::memory_order_acq_rel) == 0;\n"
     "    if (state_.load(std::memory_order_acquire) != 0) return false;\n"
     "    state_.store(static_cast<std::uint8_t>(why), std::memory_order_release);\n    return true;",
     "callback: called and cancelled, a look and then a store"),
    ("detail/callback.hpp", "    if (!armed_) return false;",
     "    if (P) return std::exchange(armed_, false);\n    if (!armed_) return false;",
     "callback: who cancels it writes what the loop looks at"),
]
