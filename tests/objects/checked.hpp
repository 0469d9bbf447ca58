// SPDX-License-Identifier: MIT
#pragma once

#include <aio/aio.hpp>

aio::task<int> checked(int x);          // each gives x,
aio::task<int> unchecked(int x);
aio::task<int> unchecked_tasks(int x);  // and this one 3 * x: by way of tasks of both kinds
