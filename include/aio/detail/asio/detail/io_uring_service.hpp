// SPDX-License-Identifier: MIT
#pragma once

#include "aio/config.hpp"

#if defined(AIO_USE_BOOST_ASIO)
#include <boost/asio/detail/io_uring_service.hpp>
#else
#include <asio/detail/io_uring_service.hpp>
#endif
