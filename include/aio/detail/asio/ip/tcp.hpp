// SPDX-License-Identifier: MIT
#pragma once

#include "aio/config.hpp"

#if defined(AIO_USE_BOOST_ASIO)
#include <boost/asio/ip/tcp.hpp>
#else
#include <asio/ip/tcp.hpp>
#endif
