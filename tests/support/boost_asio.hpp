// SPDX-License-Identifier: MIT
#pragma once

// Boost.Asio under the names of the standalone Asio, for tests that use these. See boost.cmake.

#include <boost/asio/detail/config.hpp>
#include <boost/asio/version.hpp>

namespace asio = boost::asio;

#define ASIO_VERSION BOOST_ASIO_VERSION
#if defined(BOOST_ASIO_HAS_FILE)
#define ASIO_HAS_FILE 1
#endif
#if defined(BOOST_ASIO_HAS_IO_URING)
#define ASIO_HAS_IO_URING 1
#endif
#if defined(BOOST_ASIO_HAS_IO_URING_AS_DEFAULT)
#define ASIO_HAS_IO_URING_AS_DEFAULT 1
#endif
#if defined(BOOST_ASIO_HAS_LOCAL_SOCKETS)
#define ASIO_HAS_LOCAL_SOCKETS 1
#endif
