// SPDX-License-Identifier: MIT
#pragma once

#include "aio/config.hpp"

#if defined(AIO_USE_BOOST_ASIO)
#include <boost/asio/redirect_error.hpp>
#else
#include <asio/redirect_error.hpp>
#endif
