// SPDX-License-Identifier: MIT
#pragma once

// aio_test::adapters: Asio's adapters of completion tokens, which some releases have in asio::experimental.

#include <asio/version.hpp>
#if ASIO_VERSION >= 102400
#include <asio/append.hpp>
#include <asio/as_tuple.hpp>
#include <asio/deferred.hpp>
#include <asio/prepend.hpp>
namespace aio_test {
namespace adapters = asio;
}
#else
#include <asio/experimental/append.hpp>
#include <asio/experimental/as_tuple.hpp>
#include <asio/experimental/deferred.hpp>
#include <asio/experimental/prepend.hpp>
namespace aio_test {
namespace adapters = asio::experimental;
}
#endif
#if __has_include(<asio/consign.hpp>)
#include <asio/consign.hpp>
#endif
#if __has_include(<asio/cancel_after.hpp>)
#include <asio/cancel_after.hpp>
#endif
