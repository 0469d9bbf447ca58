// SPDX-License-Identifier: MIT
#pragma once

#include "aio/config.hpp"

#if defined(AIO_USE_BOOST_ASIO)
#include <boost/asio/detail/select_reactor.hpp>
#else
#include <asio/detail/select_reactor.hpp>
#endif
