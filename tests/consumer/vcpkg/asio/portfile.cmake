# SPDX-License-Identifier: MIT
#
# The system's Asio in place of vcpkg's, for tests/consumer/packages: its folder is AIO_ASIO's. Like vcpkg's it makes
# the target asio::asio, and has no file for its version.

file(COPY "$ENV{AIO_ASIO}/asio" "$ENV{AIO_ASIO}/asio.hpp" DESTINATION "${CURRENT_PACKAGES_DIR}/include")
file(WRITE "${CURRENT_PACKAGES_DIR}/share/asio/asio-config.cmake" [[
if(NOT TARGET asio::asio)
  add_library(asio::asio INTERFACE IMPORTED)
  target_include_directories(asio::asio INTERFACE "${CMAKE_CURRENT_LIST_DIR}/../../include")
endif()
]])
file(WRITE "${CURRENT_PACKAGES_DIR}/share/asio/copyright" "The system's\n")
