// SPDX-License-Identifier: MIT
#pragma once

#include "aio/config.hpp"

#if defined(AIO_USE_BOOST_ASIO)
#include <boost/asio/dispatch.hpp>
#else
#include <asio/dispatch.hpp>
#endif
