// SPDX-License-Identifier: MIT
#pragma once

#include "aio/config.hpp"

#if defined(AIO_USE_BOOST_ASIO)
#include <boost/asio/basic_datagram_socket.hpp>
#else
#include <asio/basic_datagram_socket.hpp>
#endif
