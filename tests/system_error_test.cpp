// SPDX-License-Identifier: MIT

#include <asio/error.hpp>
#include <asio/ip/tcp.hpp>

#include <cerrno>
#include <set>
#include <string>
#include <system_error>
#include <type_traits>

#include "aio/filesystem_error.hpp"
#include "aio/getaddrinfo.hpp"
#include "aio/run.hpp"
#include "aio/system_error.hpp"
#include "aio/task.hpp"
#include "aio/use_awaitable.hpp"
#include "support/catch.hpp"

namespace {

#if defined(AIO_USE_BOOST_ASIO)
static_assert(std::is_same_v<aio::error_code, boost::system::error_code>);
static_assert(std::is_same_v<aio::system_error, boost::system::system_error>);
static_assert(std::is_same_v<aio::asio::ip::tcp, boost::asio::ip::tcp>);
#else
static_assert(std::is_same_v<aio::error_code, std::error_code>);
static_assert(std::is_same_v<aio::system_error, std::system_error>);
static_assert(std::is_same_v<aio::filesystem_error, std::filesystem::filesystem_error>);
static_assert(std::is_same_v<aio::asio::ip::tcp, ::asio::ip::tcp>);

// aio's names do not get into the way of others.
namespace with_all_names {
using namespace std;
using namespace aio;
static_assert(is_same_v<asio::ip::tcp, ::asio::ip::tcp>);
static_assert(is_same_v<error_code, std::error_code>);
static_assert(is_same_v<decltype(make_error_code(errc::timed_out)), std::error_code>);
static_assert(is_same_v<decltype(system_category()), error_category const&>);
}  // namespace with_all_names
#endif
static_assert(std::is_base_of_v<aio::system_error, aio::filesystem_error>);

TEST_CASE("system_error: codes of errno and of errc compare with std::errc") {
  CHECK(aio::error_code(ECONNRESET, aio::system_category()) == std::errc::connection_reset);
  CHECK(aio::error_code(ECONNRESET, aio::system_category()) != std::errc::broken_pipe);
  CHECK(aio::make_error_code(std::errc::timed_out) == std::errc::timed_out);
  CHECK(aio::make_error_code(std::errc::timed_out).category() == aio::generic_category());
}

TEST_CASE("system_error: codes are keys of a set") {
  std::set<aio::error_code> const codes{aio::make_error_code(std::errc::timed_out), aio::error_code()};
  CHECK(codes.count(aio::make_error_code(std::errc::timed_out)) == 1);
  CHECK(codes.count(aio::make_error_code(std::errc::broken_pipe)) == 0);
}

TEST_CASE("system_error: a code becomes one of the standard library that says the same") {
  std::error_code const code = aio::make_error_code(std::errc::timed_out);
  CHECK(code == std::errc::timed_out);
  CHECK(code.message() == aio::make_error_code(std::errc::timed_out).message());
}

TEST_CASE("system_error: a filesystem_error is one, and has the path") {
  aio::filesystem_error const error("open", "a/b", aio::make_error_code(std::errc::no_such_file_or_directory));
  aio::system_error const& as_base = error;
  CHECK(as_base.code() == std::errc::no_such_file_or_directory);
  CHECK(error.path1() == "a/b");
  CHECK(std::string(error.what()).find("a/b") != std::string::npos);
}

TEST_CASE("system_error: what Asio fails with and what aio fails with is caught by one clause") {
  auto const refused = aio::run([]() -> aio::task<std::string> {
    asio::ip::tcp::socket socket(co_await asio::this_coro::executor);
    std::string caught;
    try {
      co_await socket.async_connect({asio::ip::address_v4::loopback(), 1}, aio::use_awaitable);
    } catch (aio::system_error const& error) {
      if (error.code() == asio::error::connection_refused) caught += "Asio ";
    }
    try {
      (void)co_await aio::getaddrinfo("no.such.host.invalid", 80, 0, AI_NUMERICHOST);
    } catch (aio::system_error const& error) {
      if (error.code().category() == aio::getaddrinfo_category()) caught += "aio";
    }
    co_return caught;
  }());
  CHECK(refused == "Asio aio");
}

}  // namespace
