// SPDX-License-Identifier: MIT
#pragma once

#include "aio/config.hpp"

#if defined(AIO_USE_BOOST_ASIO)
#include <boost/asio/socket_base.hpp>
#else
#include <asio/socket_base.hpp>
#endif
