// SPDX-License-Identifier: MIT
#pragma once

#include "aio/config.hpp"

#if defined(AIO_USE_BOOST_ASIO)
#include <boost/asio/buffer.hpp>
#else
#include <asio/buffer.hpp>
#endif
