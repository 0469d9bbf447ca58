// SPDX-License-Identifier: MIT
#pragma once

// Everything but aio/testing.

#include "aio/as_result.hpp"
#include "aio/error.hpp"
#include "aio/event_loop.hpp"
#include "aio/exception_group.hpp"
#include "aio/future.hpp"
#include "aio/gather.hpp"
#include "aio/print_tasks.hpp"
#include "aio/result.hpp"
#include "aio/run.hpp"
#include "aio/semaphore.hpp"
#include "aio/sleep.hpp"
#include "aio/task.hpp"
#include "aio/task_group.hpp"
#include "aio/task_handle.hpp"
#include "aio/timeout.hpp"
#include "aio/to_thread.hpp"
#include "aio/use_awaitable.hpp"
