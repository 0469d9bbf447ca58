// SPDX-License-Identifier: MIT
#pragma once

// Parts of the standard library whose own headers take long to compile, from where libstdc++ has them, too:
//
//   std::ranges::input_range, view and their like    <ranges> has all the views
//   std::push_heap, std::pop_heap                    <algorithm> has all algorithms, twice

#include "aio/config.hpp"

#include <version>

#if defined(__GLIBCXX__)
#include <iterator>
#include <queue>
#else
#include <algorithm>
#include <ranges>
#endif
