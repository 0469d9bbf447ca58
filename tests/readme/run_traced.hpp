// SPDX-License-Identifier: MIT
#pragma once

// For programs of a page that are drawn: each runs in virtual time, and leaves a trace in the folder that the variable
// AIO_PICTURES of the environment names, where there is one. tools/draw_pictures.py draws them.

#include <aio/aio.hpp>
#include <aio/testing/virtual_clock.hpp>
#include <aio/trace_writer.hpp>
#include <cstdlib>
#include <memory>
#include <source_location>
#include <string>
#include <utility>

inline void run_traced(std::string const& name, aio::task<> main,
                       std::source_location created = std::source_location::current()) {
  char const* const folder = std::getenv("AIO_PICTURES");
  if (!folder) return aio::testing::run(std::move(main), created);
  aio::trace_writer trace(std::string(folder) + "/" + name + ".json");
  aio::runner once(aio::run_options().signals(aio::on_signal::leave).instrument(trace),
                   std::make_unique<aio::testing::virtual_loop>());
  once.run(std::move(main), created);
  once.close();
}
