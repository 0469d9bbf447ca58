// SPDX-License-Identifier: MIT
#pragma once

#include "aio/config.hpp"

#if defined(AIO_USE_BOOST_ASIO)
#include <boost/asio/generic/datagram_protocol.hpp>
#else
#include <asio/generic/datagram_protocol.hpp>
#endif
