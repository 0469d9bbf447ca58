// SPDX-License-Identifier: MIT
#pragma once

#include "aio/config.hpp"

#if defined(AIO_USE_BOOST_ASIO)
#include <boost/asio/associated_cancellation_slot.hpp>
#else
#include <asio/associated_cancellation_slot.hpp>
#endif
