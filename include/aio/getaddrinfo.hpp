// SPDX-License-Identifier: MIT
#pragma once

// From names of hosts and services to addresses, and back.
//
//   std::vector<aio::socket_address> all = co_await aio::getaddrinfo("example.org", "https");
//   aio::name_info peer = co_await aio::getnameinfo(all.front());
//
//   try {
//     co_await aio::wait_for(aio::getaddrinfo(host, 443), 5s);
//   } catch (aio::system_error const& e) {
//     if (e.code().category() == aio::getaddrinfo_category() && e.code().value() == EAI_AGAIN) ...
//   }

#include "aio/config.hpp"
#include "aio/detail/keywords_off.hpp"  // before Asio

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "aio/detail/never_destroyed.hpp"
#include "aio/detail/resolver.hpp"
#include "aio/socket_address.hpp"
#include "aio/system_error.hpp"

#if defined(__unix__) || defined(__APPLE__)
#include <netdb.h>
#endif
#pragma GCC visibility push(default)

namespace aio::inline AIO_ABI {
namespace detail {

struct address_query {
  std::string host;
  std::string service;
  int family;
  int flags;
  inline std::vector<socket_address> operator()() const;
};
struct name_query;

}  // namespace detail

/// Looks up the addresses of a host, in the order in which the system would have them tried.
///
/// `service` is a name or a decimal number; empty, it is port 0. An empty `host` is this one: the loopback addresses,
/// or with AI_PASSIVE those that a server listens on. `family` is AF_INET or AF_INET6 for these addresses only.
/// `flags` are the system's.
///
/// Suspends: unless the host is numeric, without a zone, and so is the service (CON-7).
/// Resumes: on the loop's thread, in the iteration after the one that hears of the end.
/// Cancelled: at once. A look-up that runs is left to end by itself, and its thread is missing to others until then
/// (D42, DNS-2); neither the end of a loop nor that of the process waits for it.
/// Throws: system_error that names the host, in getaddrinfo_category() with EAI_... or in that of the system;
/// std::invalid_argument, if a NUL byte is in a name.
/// Lifetime: keeps copies of its arguments.
/// asyncio: loop.getaddrinfo, CON-7, CON-8, DNS-1 to DNS-3. Each address comes once, for all kinds of sockets.
[[nodiscard]] inline detail::lookup_awaiter<detail::address_query> getaddrinfo(std::string host, std::string service,
                                                                               int family = 0, int flags = 0);
[[nodiscard]] inline detail::lookup_awaiter<detail::address_query> getaddrinfo(std::string host, std::uint16_t port,
                                                                               int family = 0, int flags = 0);

struct name_info {
  name_info() = default;  // no aggregate, see closure.hpp
  name_info(std::string of_host, std::string of_service) : host(std::move(of_host)), service(std::move(of_service)) {}

  std::string host;
  std::string service;
};

/// Looks up the name of a host and of a service. Where they have none, the name is the number, unless `flags` (NI_...)
/// demand one.
///
/// In all else as getaddrinfo(). asyncio: loop.getnameinfo, DNS-1 to DNS-3.
[[nodiscard]] inline detail::lookup_awaiter<detail::name_query> getnameinfo(socket_address address, int flags = 0);

/// Of the codes EAI_...; on Windows they are those of system_category(), and this is that.
[[nodiscard]] inline error_category const& getaddrinfo_category() noexcept;

// ---------------------------------------------------------------- implementation

#if defined(__unix__) || defined(__APPLE__)

inline error_category const& getaddrinfo_category() noexcept {
  class category final : public error_category {
   public:
    [[nodiscard]] char const* name() const noexcept override { return "getaddrinfo"; }
    [[nodiscard]] std::string message(int code) const override { return ::gai_strerror(code); }
    [[nodiscard]] error_condition default_error_condition(int code) const noexcept override {
      switch (code) {
        case EAI_AGAIN:
          return aio::make_error_code(std::errc::resource_unavailable_try_again).default_error_condition();
        case EAI_FAMILY:
          return aio::make_error_code(std::errc::address_family_not_supported).default_error_condition();
        case EAI_MEMORY:
          return aio::make_error_code(std::errc::not_enough_memory).default_error_condition();
        default:
          return {code, *this};
      }
    }
  };
  static detail::never_destroyed<category> const made;
  return made.get();
}

#else

inline error_category const& getaddrinfo_category() noexcept { return system_category(); }

#endif

namespace detail {

struct name_query {
  socket_address address;
  int flags;
  inline name_info operator()() const;
};

/// What a function of the getaddrinfo() family returned. Throws: bad_alloc.
inline error_code lookup_error(int code) {
#if defined(EAI_SYSTEM)
  if (code == EAI_SYSTEM) return {errno, system_category()};
#endif
  return {code, getaddrinfo_category()};
}

/// A decimal number; -1 if it is too large for a port. std::nullopt: a name.
inline std::optional<int> port_of(std::string_view service) noexcept {
  if (service.empty()) return 0;
  if (!std::all_of(service.begin(), service.end(), [](char c) { return c >= '0' && c <= '9'; })) return std::nullopt;
  std::uint16_t port = 0;
  auto const parsed = std::from_chars(service.data(), service.data() + service.size(), port);
  return parsed.ec == std::errc() ? port : -1;
}

inline std::string describe_query(address_query const& query) {
  std::string text = "host \"" + query.host + '"';
  if (!query.service.empty()) text += ", service \"" + query.service + '"';
  return text;
}

inline std::vector<socket_address> address_query::operator()() const {
  ::addrinfo hints{};
  hints.ai_family = family;
  hints.ai_flags = flags;
  char const* const name = host.empty() ? nullptr : host.c_str();
  char const* const of = service.empty() ? (name ? nullptr : "0") : service.c_str();
  ::addrinfo* found = nullptr;
  // Without a type each address would come once for each; few services are of datagrams alone.
  hints.ai_socktype = SOCK_STREAM;
  int code = ::getaddrinfo(name, of, &hints, &found);
  if (code == EAI_SERVICE && of) {
    hints.ai_socktype = SOCK_DGRAM;
    code = ::getaddrinfo(name, of, &hints, &found);
  }
  if (code != 0) {
    error_code const why = lookup_error(code);
    throw system_error(why, describe_query(*this));
  }
  std::unique_ptr<::addrinfo, void (*)(::addrinfo*)> const owned(found, [](::addrinfo* list) { ::freeaddrinfo(list); });
  std::vector<socket_address> all;
  for (::addrinfo const* each = found; each; each = each->ai_next) {
    socket_address const address(each->ai_addr, each->ai_addrlen);
    if (!address.empty() && std::find(all.begin(), all.end(), address) == all.end()) all.push_back(address);
  }
  if (all.empty()) throw system_error(lookup_error(EAI_NONAME), describe_query(*this));
  return all;
}

inline name_info name_query::operator()() const {
  char host[NI_MAXHOST];
  char service[NI_MAXSERV];
  int const code = ::getnameinfo(address.data(), static_cast<decltype(::addrinfo::ai_addrlen)>(address.size()), host,
                                 sizeof host, service, sizeof service, flags);
  if (code != 0) {
    error_code const why = lookup_error(code);
    throw system_error(why, "address " + address.to_string());
  }
  return {host, service};
}

/// Puts the families of addresses in turn, as CON-12 says: behind the first `first_family_count` of the first one,
/// less one, they alternate. The order in each stays; 0 changes nothing.
inline std::vector<socket_address> interleave_families(std::vector<socket_address> const& addresses,
                                                       std::size_t first_family_count) {
  if (first_family_count == 0 || addresses.empty()) return addresses;
  std::vector<std::vector<socket_address>> families;
  for (socket_address const& each : addresses) {
    auto const same = std::find_if(families.begin(), families.end(),
                                   [&](auto const& some) { return some.front().family() == each.family(); });
    if (same == families.end()) {
      families.push_back({each});
    } else {
      same->push_back(each);
    }
  }
  std::vector<socket_address> in_turn;
  in_turn.reserve(addresses.size());
  std::size_t const ahead = (std::min)(first_family_count - 1, families.front().size());
  in_turn.assign(families.front().begin(), families.front().begin() + static_cast<std::ptrdiff_t>(ahead));
  families.front().erase(families.front().begin(), families.front().begin() + static_cast<std::ptrdiff_t>(ahead));
  for (std::size_t at = 0; in_turn.size() < addresses.size(); ++at) {
    for (auto const& some : families) {
      if (at < some.size()) in_turn.push_back(some[at]);
    }
  }
  return in_turn;
}

}  // namespace detail

inline detail::lookup_awaiter<detail::address_query> getaddrinfo(std::string host, std::string service, int family,
                                                                 int flags) {
  if (host.find('\0') != host.npos || service.find('\0') != service.npos) {
    throw std::invalid_argument("getaddrinfo: a NUL byte is in the name of a host or service");
  }
  detail::address_query query{std::move(host), std::move(service), family, flags};
  if (auto const port = detail::port_of(query.service)) {
    if (*port < 0) throw system_error(detail::lookup_error(EAI_SERVICE), detail::describe_query(query));
    auto const numeric = socket_address::from_numeric(query.host, static_cast<std::uint16_t>(*port));
    if (numeric && (family == AF_UNSPEC || family == numeric->family())) {
      return {std::move(query), std::vector<socket_address>(1, *numeric)};
    }
  }
  return detail::lookup_awaiter<detail::address_query>(std::move(query));
}

inline detail::lookup_awaiter<detail::address_query> getaddrinfo(std::string host, std::uint16_t port, int family,
                                                                 int flags) {
  return getaddrinfo(std::move(host), std::to_string(port), family, flags);
}

inline detail::lookup_awaiter<detail::name_query> getnameinfo(socket_address address, int flags) {
  return detail::lookup_awaiter<detail::name_query>(detail::name_query{address, flags});
}

}  // namespace aio::inline AIO_ABI

#pragma GCC visibility pop

#include "aio/detail/keywords_back.hpp"
