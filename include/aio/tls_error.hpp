// SPDX-License-Identifier: MIT
#pragma once

// Why TLS failed, as codes of system_error:
//
//   } catch (aio::system_error const& error) {
//     if (error.code() == aio::tls_errc::stream_truncated) ...              // cut short: what came may not be all
//     if (error.code().category() == aio::tls_verify_category()) ...        // its value is an X509_V_ERR_...
//     std::cerr << error.what();  // "TLS handshake with a.org: certificate verify failed: certificate has expired"
//   }

#include "aio/config.hpp"

#include <string>
#include <type_traits>

#include <openssl/err.h>
#include <openssl/x509.h>
#include <openssl/x509_vfy.h>

#include "aio/system_error.hpp"
#pragma GCC visibility push(default)

namespace aio::inline AIO_ABI {

/// What OpenSSL has no code for.
enum class tls_errc {
  /// The connection ended without the peer's close_notify: somebody may have cut it (D30).
  stream_truncated = 1,
};

/// Of tls_errc, and of OpenSSL: a value that ERR_get_error() returned.
[[nodiscard]] error_category const& tls_category() noexcept;

/// Why a certificate was refused: an X509_V_ERR_ of <openssl/x509_vfy.h>.
[[nodiscard]] error_category const& tls_verify_category() noexcept;

[[nodiscard]] inline error_code make_error_code(tls_errc error) noexcept {
  return {static_cast<int>(error), tls_category()};
}

}  // namespace aio::inline AIO_ABI

template <>
struct std::is_error_code_enum<aio::tls_errc> : std::true_type {};

// ---------------------------------------------------------------- implementation

namespace aio::inline AIO_ABI {
namespace detail {

class tls_category_type final : public error_category {
 public:
  [[nodiscard]] char const* name() const noexcept override { return "tls"; }
  [[nodiscard]] std::string message(int value) const override {
    if (value == static_cast<int>(tls_errc::stream_truncated)) {
      return "the TLS stream was cut short: it ended without a close_notify";
    }
    char const* const reason = ::ERR_reason_error_string(static_cast<unsigned>(value));
    return reason ? reason : "OpenSSL error " + std::to_string(static_cast<unsigned>(value));
  }
};

class tls_verify_category_type final : public error_category {
 public:
  [[nodiscard]] char const* name() const noexcept override { return "tls.verify"; }
  [[nodiscard]] std::string message(int value) const override {
    return std::string("certificate verify failed: ") + ::X509_verify_cert_error_string(value);
  }
};

/// Takes what OpenSSL has noted on this thread: the first of its errors, which is the cause where a file cannot be
/// read, or the last, which says most where a peer is wrong. From 3.2 on a last one says only that a record was wrong,
/// and the one before it, why.
inline error_code take_tls_error(bool first) noexcept {
  unsigned long code = 0;
  while (unsigned long const next = ::ERR_get_error()) {
    // SSL_R_RECORD_LAYER_FAILURE, which older headers do not have
    bool const says_less = ERR_GET_LIB(next) == ERR_LIB_SSL && ERR_GET_REASON(next) == 313;
    if (code == 0 || (!first && !says_less)) code = next;
  }
  if (ERR_GET_REASON(code) == ERR_R_MALLOC_FAILURE) return aio::make_error_code(std::errc::not_enough_memory);
  if (code == 0) return aio::make_error_code(std::errc::io_error);
  if (ERR_GET_LIB(code) == ERR_LIB_SYS) return {ERR_GET_REASON(code), generic_category()};
  return {static_cast<int>(static_cast<unsigned>(code)), tls_category()};
}

}  // namespace detail

inline error_category const& tls_category() noexcept {
  static detail::tls_category_type const category;
  return category;
}

inline error_category const& tls_verify_category() noexcept {
  static detail::tls_verify_category_type const category;
  return category;
}

}  // namespace aio::inline AIO_ABI

#pragma GCC visibility pop
