// SPDX-License-Identifier: MIT
#include <cstdint>
#include <random>
#include <span>
#include <vector>

#include "fuzz/programs.hpp"
#include "fuzz/queues.hpp"
#include "fuzz/streams.hpp"
#include "support/catch.hpp"

// The targets of tests/fuzz/run on bytes that nobody has chosen; one that is wrong ends the program.

namespace {

/// Hands `inputs` inputs of up to `most` bytes to `target`.
void feed(void (*target)(std::span<std::uint8_t const>), int inputs, std::size_t most) {
  std::mt19937 numbers(20260901);  // the same everywhere
  for (int i = 0; i < inputs; ++i) {
    std::vector<std::uint8_t> bytes(numbers() % (most + 1));
    for (auto& each : bytes) each = static_cast<std::uint8_t>(numbers());
    target(bytes);
  }
  SUCCEED("nothing was wrong");
}

}  // namespace

TEST_CASE("fuzz: timers leave a heap in the order of a list that is searched") { feed(&aio_fuzz::timers, 1000, 300); }

TEST_CASE("fuzz: ready queues hold what lists hold, in their order") { feed(&aio_fuzz::ready_queues, 1000, 200); }

TEST_CASE("fuzz: blocks of the pool keep what is written into them") { feed(&aio_fuzz::pool, 300, 300); }

TEST_CASE("fuzz: a stream gives the text that was sent, however it is read, and cancelled") {
  feed(&aio_fuzz::streams, 500, 250);
}

TEST_CASE("fuzz: random programs lose nothing, hold nothing, leave nothing, and repeat themselves") {
  feed(&aio_fuzz::programs, 300, 150);
}
