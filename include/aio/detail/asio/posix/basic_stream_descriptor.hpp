// SPDX-License-Identifier: MIT
#pragma once

#include "aio/config.hpp"

#if defined(AIO_USE_BOOST_ASIO)
#include <boost/asio/posix/basic_stream_descriptor.hpp>
#else
#include <asio/posix/basic_stream_descriptor.hpp>
#endif
