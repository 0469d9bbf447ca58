// SPDX-License-Identifier: MIT
#pragma once

#include "aio/config.hpp"

#if defined(AIO_USE_BOOST_ASIO)
#include <boost/asio/execution/executor.hpp>
#else
#include <asio/execution/executor.hpp>
#endif
