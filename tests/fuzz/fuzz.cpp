// SPDX-License-Identifier: MIT

// The targets of this folder for libFuzzer, see run: the environment says which, AIO_FUZZ_TARGET=timers.

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string_view>

#include "programs.hpp"
#include "queues.hpp"
#include "streams.hpp"

namespace {

struct {
  std::string_view name;
  void (*run)(std::span<std::uint8_t const>);
} constexpr targets[] = {
    {"timers", &aio_fuzz::timers},
    {"ready_queues", &aio_fuzz::ready_queues},
    {"pool", &aio_fuzz::pool},
    {"streams", &aio_fuzz::streams},
    {"programs", &aio_fuzz::programs},
};
void (*chosen)(std::span<std::uint8_t const>) = nullptr;

}  // namespace

extern "C" int LLVMFuzzerInitialize(int*, char***) {
  char const* const name = std::getenv("AIO_FUZZ_TARGET");
  for (auto const& each : targets) {
    if (name && each.name == name) chosen = each.run;
  }
  if (chosen) return 0;
  std::fputs("AIO_FUZZ_TARGET is to be timers, ready_queues, pool, streams or programs\n", stderr);
  std::exit(2);
}

extern "C" int LLVMFuzzerTestOneInput(std::uint8_t const* data, std::size_t size) {
  chosen({data, size});
  return 0;
}
