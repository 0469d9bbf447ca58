// SPDX-License-Identifier: MIT
#pragma once

// What Asio's macros say, under names of aio's.
//
// This folder is all that lies between aio and the two Asios: each other file of it includes the header of its name, of
// the standalone Asio, or of Boost's where AIO_USE_BOOST_ASIO is defined.

#include "aio/config.hpp"

#if defined(AIO_USE_BOOST_ASIO)
#include <boost/asio/detail/config.hpp>
#include <boost/asio/version.hpp>
#else
#include <asio/detail/config.hpp>
#include <asio/version.hpp>
#endif

#pragma GCC visibility push(default)

#if defined(AIO_USE_BOOST_ASIO)
#define AIO_ASIO_VERSION BOOST_ASIO_VERSION
#define AIO_ASIO_UNSAFE_IO BOOST_ASIO_CONCURRENCY_HINT_UNSAFE_IO
#else
#define AIO_ASIO_VERSION ASIO_VERSION
#define AIO_ASIO_UNSAFE_IO ASIO_CONCURRENCY_HINT_UNSAFE_IO
#endif

#if defined(AIO_USE_BOOST_ASIO) ? defined(BOOST_ASIO_HAS_CO_AWAIT) : defined(ASIO_HAS_CO_AWAIT)
#define AIO_ASIO_HAS_CO_AWAIT 1
#else
#define AIO_ASIO_HAS_CO_AWAIT 0
#endif

#if defined(AIO_USE_BOOST_ASIO) ? defined(BOOST_ASIO_HAS_IO_URING) : defined(ASIO_HAS_IO_URING)
#define AIO_ASIO_HAS_IO_URING 1
#else
#define AIO_ASIO_HAS_IO_URING 0
#endif

// Whether Asio waits by io_uring, in place of epoll.
#if defined(AIO_USE_BOOST_ASIO) ? defined(BOOST_ASIO_HAS_IO_URING_AS_DEFAULT) : defined(ASIO_HAS_IO_URING_AS_DEFAULT)
#define AIO_ASIO_WAITS_BY_IO_URING 1
#else
#define AIO_ASIO_WAITS_BY_IO_URING 0
#endif

#if defined(AIO_USE_BOOST_ASIO)
#if defined(BOOST_ASIO_HAS_EPOLL) || defined(BOOST_ASIO_HAS_KQUEUE) || defined(BOOST_ASIO_HAS_DEV_POLL)
#define AIO_ASIO_HAS_REACTOR 1
#endif
#elif defined(ASIO_HAS_EPOLL) || defined(ASIO_HAS_KQUEUE) || defined(ASIO_HAS_DEV_POLL)
#define AIO_ASIO_HAS_REACTOR 1
#endif

// Whether Asio waits by select(), which it can do for descriptors below FD_SETSIZE only.
#if (defined(__unix__) || defined(__APPLE__)) && !defined(AIO_ASIO_HAS_REACTOR) && !AIO_ASIO_WAITS_BY_IO_URING
#define AIO_WAITS_BY_SELECT 1
#else
#define AIO_WAITS_BY_SELECT 0
#endif

#pragma GCC visibility pop
