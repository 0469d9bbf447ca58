// error: the tasks of an aio::task_set<T> all return T, and this one something else; those of a task_set<> return nothing
// SPDX-License-Identifier: MIT
#include <aio/aio.hpp>

aio::task<int> f();

void g(aio::task_set<>& jobs) { jobs.create_task(f()); }
