// SPDX-License-Identifier: MIT
#pragma once

#include "aio/config.hpp"

// It needs io_context.hpp before it.
#if defined(AIO_USE_BOOST_ASIO)
#include <boost/asio/io_context.hpp>

#include <boost/asio/detail/reactor.hpp>
#else
#include <asio/io_context.hpp>

#include <asio/detail/reactor.hpp>
#endif
