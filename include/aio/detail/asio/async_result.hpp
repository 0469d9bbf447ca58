// SPDX-License-Identifier: MIT
#pragma once

#include "aio/config.hpp"

#if defined(AIO_USE_BOOST_ASIO)
#include <boost/asio/async_result.hpp>
#else
#include <asio/async_result.hpp>
#endif
