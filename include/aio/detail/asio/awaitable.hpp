// SPDX-License-Identifier: MIT
#pragma once

#include "aio/config.hpp"

#if defined(AIO_USE_BOOST_ASIO)
#include <boost/asio/awaitable.hpp>
#else
#include <asio/awaitable.hpp>
#endif
