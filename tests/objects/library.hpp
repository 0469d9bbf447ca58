// SPDX-License-Identifier: MIT
#pragma once

// What library.cpp has for program.cpp: both use aio, and each has its own copy of it.

#include <memory>

#include <aio/aio.hpp>

struct library {
  aio::task<int> (*sleep)(int x);
  aio::task<> (*wait)(int& cleaned_up);
  aio::task<int> (*create_and_await)(int x);
  aio::task_handle<int> (*start)(aio::event_loop& loop, int& begun);
  aio::task<bool> (*limited)();
  aio::task<bool> (*knows_where_it_runs)(aio::event_loop& loop, aio::any_task_handle const& self);
  aio::task<int> (*read)(aio::context_var<int>& variable);
  aio::task<> (*fail)();
  aio::task<> (*shield)(aio::future<>& inner);
  aio::callback_handle (*call_later)(aio::event_loop& loop, std::shared_ptr<int> kept);
  aio::detail::done_callback (*listen)(aio::task_handle<int> const& to, int& heard);
};

extern "C" __attribute__((visibility("default"))) library const* aio_test_library();
