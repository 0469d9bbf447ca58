// SPDX-License-Identifier: MIT
#pragma once

#include "aio/config.hpp"

#if defined(AIO_USE_BOOST_ASIO)
#include <boost/asio/generic/stream_protocol.hpp>
#else
#include <asio/generic/stream_protocol.hpp>
#endif
