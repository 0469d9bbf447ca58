// SPDX-License-Identifier: MIT
#pragma once

#include "aio/config.hpp"

#if defined(AIO_USE_BOOST_ASIO)
#include <boost/asio/co_spawn.hpp>
#else
#include <asio/co_spawn.hpp>
#endif
