// SPDX-License-Identifier: MIT
#pragma once

#include "aio/config.hpp"

#if defined(AIO_USE_BOOST_ASIO)
#include <boost/asio/any_io_executor.hpp>
#else
#include <asio/any_io_executor.hpp>
#endif
