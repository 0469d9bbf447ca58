// SPDX-License-Identifier: MIT
#pragma once

#include "aio/config.hpp"

#if defined(AIO_USE_BOOST_ASIO)
#include <boost/asio/basic_waitable_timer.hpp>
#else
#include <asio/basic_waitable_timer.hpp>
#endif
