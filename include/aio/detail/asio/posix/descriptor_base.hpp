// SPDX-License-Identifier: MIT
#pragma once

#include "aio/config.hpp"

#if defined(AIO_USE_BOOST_ASIO)
#include <boost/asio/posix/descriptor_base.hpp>
#else
#include <asio/posix/descriptor_base.hpp>
#endif
