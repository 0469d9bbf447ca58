// SPDX-License-Identifier: MIT
#pragma once

#include "aio/config.hpp"

#if defined(AIO_USE_BOOST_ASIO)
#include <boost/asio/io_context.hpp>
#else
#include <asio/io_context.hpp>
#endif
