// SPDX-License-Identifier: MIT
#pragma once

#include "aio/config.hpp"

#if defined(AIO_USE_BOOST_ASIO)
#include <boost/asio/execution_context.hpp>
#else
#include <asio/execution_context.hpp>
#endif
