// SPDX-License-Identifier: MIT

// What threads share in aio, in all interleavings of a few operations: the inbox of a loop and how that is woken, the
// pool of to_thread(), callbacks and jobs that two threads may end. The classes are those of the headers, made of types
// that the explorer knows.
//
//   aio_interleavings [--most SCHEDULES] [--every] [TEXT]
//
// Runs the programs whose names have the text, and prints a line for each. Ends with 1 if one fails, with 2 if there
// is none. --every tries orders that make no difference, too, which is for the explorer itself.

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <set>
#include <string>
#include <vector>

#include "explorer.hpp"
#include "inbox_programs.hpp"
#include "litmus.hpp"
#include "lookup_programs.hpp"
#include "pool_programs.hpp"

namespace {

using namespace interleavings;

struct program {
  char const* name;
  void (*run)();
  int spurious = 0;
};

std::vector<program> const programs{
    {"inbox: two threads bring 1 each", bring<1, 1>},
    {"inbox: two threads bring 2 and 1", bring<2, 1>},
    {"inbox: one at a time may fail for nothing", bring<1, 1>, 1},
    {"inbox: two threads bring 1 each to a loop that closes", bring_to_one_that_closes<1, 1>},
    {"inbox: two threads bring 2 and 1 to a loop that closes", bring_to_one_that_closes<2, 1>},
    {"callback: two are cancelled while the loop runs them", cancel_calls<false>},
    {"callback: two are cancelled while the loop closes", cancel_calls<true>},
    {"pool: a burst of 2, 1 thread", burst<1, 2>},
    {"pool: a burst of 2, 2 threads", burst<2, 2>},
    {"pool: a burst of 3, 2 threads", burst<2, 3>},
    {"pool: a burst of 2, threads wake for nothing", burst<2, 2>, 1},
    {"pool: two that need each other", run_together},
    {"pool: two that need each other, after a pause", run_together_after_a_pause},
    {"pool: two that need each other, twice", run_together_twice},
    {"pool: ends while threads begin 2", end_at_once<2, 2>},
    {"pool: ends while threads begin 3", end_at_once<2, 3>},
    {"pool: one is withdrawn", withdraw_one},
    {"pool: one is withdrawn, and another comes", withdraw_and_submit},
    {"pool: two threads submit", submit_from_two_threads},
    {"pool: the loop hears when no job is left", serve_until_idle<false>},
    {"pool: the loop withdraws the last job", serve_until_idle<true>},
    {"job: cancelled, and waited for", cancel_job<false>},
    {"job: cancelled, and abandoned", cancel_job<true>},
    {"job: the loop closes before it is back", close_before_job},
    {"look-up: a thread ends, or takes the next", look_up<1, false>},
    {"look-up: two, and threads that end", look_up<2, false>},
    {"look-up: one of two is abandoned", look_up<2, true>},
};

struct options {
  long most = 1'000'000'000;
  bool reduces = true;
  std::string text = {};
  mutable bool found = false;  // a program with that text

  bool names(std::string const& name) const {
    bool const has = name.find(text) != std::string::npos;
    found = found || has;
    return has;
  }
};

bool run_program(program const& each, options const& asked) {
  explorer search;
  search.reduces = asked.reduces;
  search.spurious = each.spurious;
  result const found = search.explore(each.run, asked.most);
  std::printf("%-60s %9ld schedules%s, %ld cut, %zu operations at most\n", each.name, found.schedules,
              found.complete ? "" : found.failure.empty() ? " of more"
                                                          : "",
              found.cut, found.deepest);
  if (!found.failure.empty()) std::printf("  FAILS: %s\n%s", found.failure.c_str(), found.trace.c_str());
  std::fflush(stdout);
  return found.failure.empty();
}

bool run_litmus(litmus const& each, options const& asked) {
  std::set<std::string> ends;
  explorer search;
  search.reduces = asked.reduces;
  result const found = search.explore([&] { each.program(ends); });
  bool const right = found.failure.empty() && ends == each.ends;
  std::printf("explorer: %-50s %9ld schedules%s\n", each.name, found.schedules, right ? "" : "  FAILS: other ends");
  return right;
}

bool run_faulty(faulty const& each, options const& asked) {
  explorer search;
  search.reduces = asked.reduces;
  result const found = search.explore(each.program);
  bool const right = found.failure == each.failure;
  std::printf("explorer: %-50s %9ld schedules%s\n", each.name, found.schedules, right ? "" : "  FAILS: not found");
  return right;
}

/// Whether all orders have the ends that those have which make a difference.
bool compare_searches(options const& asked) {
  if (!asked.names("explorer: random programs")) return true;
  long schedules = 0, of = 0;
  bool same = true;
  for (unsigned seed = 1; seed <= 40; ++seed) {
    random_program const each(seed);
    std::set<std::string> ends, all_ends;
    explorer search, whole;
    whole.reduces = false;
    schedules += search.explore([&] { each(ends); }).schedules;
    of += whole.explore([&] { each(all_ends); }).schedules;
    same = same && ends == all_ends;
  }
  std::printf("explorer: %-50s %9ld schedules, with the ends of all %ld%s\n", "40 random programs", schedules, of,
              same ? "" : "  FAILS: some are missing");
  return same;
}

template <class Of, class Run>
bool run_all(std::vector<Of> const& all, options const& asked, std::string const& prefix, Run run) {
  bool good = true;
  for (auto const& each : all) {
    if (asked.names(prefix + each.name)) good = run(each, asked) && good;
  }
  return good;
}

}  // namespace

int main(int count, char** given) {
  options asked;
  for (int i = 1; i < count; ++i) {
    if (std::strcmp(given[i], "--most") == 0 && i + 1 < count) {
      asked.most = std::atol(given[++i]);
    } else if (std::strcmp(given[i], "--every") == 0) {
      asked.reduces = false;
    } else {
      asked.text = given[i];
    }
  }
  bool good = run_all(all_litmus(), asked, "explorer: ", run_litmus);
  good = run_all(all_faulty(), asked, "explorer: ", run_faulty) && good;
  good = compare_searches(asked) && good;
  good = run_all(programs, asked, "", run_program) && good;
  if (!asked.found) {
    std::fprintf(stderr, "no program has \"%s\" in its name\n", asked.text.c_str());
    return 2;
  }
  return good ? 0 : 1;
}
