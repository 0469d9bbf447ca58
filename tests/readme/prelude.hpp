// SPDX-License-Identifier: MIT
#pragma once

// What the README's shorter code blocks take for granted.

#include <aio/aio.hpp>
#include <chrono>
#include <exception>
#include <functional>
#include <iostream>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <tuple>
#include <utility>
#include <vector>

#if defined(AIO_USE_BOOST_ASIO)
#include <support/boost_asio.hpp>
#endif

using namespace std::chrono_literals;
