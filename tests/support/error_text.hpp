// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <exception>
#include <string>

#include "aio/system_error.hpp"

namespace aio_test {

/// What the error says, without the category and the number that Boost's errors put behind it: " [system:111]".
inline std::string error_text(std::exception const& error) {
  std::string text = error.what();
#if defined(AIO_USE_BOOST_ASIO)
  if (auto const* const with_code = dynamic_cast<aio::system_error const*>(&error)) {
    text.resize(std::min(text.size(), text.rfind(" [" + with_code->code().to_string())));
  }
#endif
  return text;
}

}  // namespace aio_test
