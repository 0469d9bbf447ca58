// SPDX-License-Identifier: MIT
#pragma once

#include "aio/config.hpp"

#if defined(AIO_USE_BOOST_ASIO)
#include <boost/asio/cancellation_signal.hpp>
#else
#include <asio/cancellation_signal.hpp>
#endif
