// SPDX-License-Identifier: MIT
#pragma once

#include "aio/config.hpp"

#if defined(AIO_USE_BOOST_ASIO)
#include <boost/asio/ip/v6_only.hpp>
#else
#include <asio/ip/v6_only.hpp>
#endif
