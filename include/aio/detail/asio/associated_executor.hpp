// SPDX-License-Identifier: MIT
#pragma once

#include "aio/config.hpp"

#if defined(AIO_USE_BOOST_ASIO)
#include <boost/asio/associated_executor.hpp>
#else
#include <asio/associated_executor.hpp>
#endif
