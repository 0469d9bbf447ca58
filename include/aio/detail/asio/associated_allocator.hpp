// SPDX-License-Identifier: MIT
#pragma once

#include "aio/config.hpp"

#if defined(AIO_USE_BOOST_ASIO)
#include <boost/asio/associated_allocator.hpp>
#else
#include <asio/associated_allocator.hpp>
#endif
