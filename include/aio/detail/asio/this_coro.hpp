// SPDX-License-Identifier: MIT
#pragma once

#include "aio/config.hpp"

#if defined(AIO_USE_BOOST_ASIO)
#include <boost/asio/this_coro.hpp>
#else
#include <asio/this_coro.hpp>
#endif
