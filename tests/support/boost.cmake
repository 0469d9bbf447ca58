# SPDX-License-Identifier: MIT

# The tests, and the programs of the pages, on Boost.Asio: what they include as <asio/...> they find here, in files that
# include Boost's header of that name. `asio` is Boost's there, and ASIO_... what Boost's macros say.
file(GLOB_RECURSE files CONFIGURE_DEPENDS "${CMAKE_CURRENT_SOURCE_DIR}/*.cpp" "${CMAKE_CURRENT_SOURCE_DIR}/*.hpp"
  "${PROJECT_SOURCE_DIR}/docs/*.md")
set(headers "")
foreach(file IN LISTS files ITEMS "${PROJECT_SOURCE_DIR}/README.md")
  file(STRINGS "${file}" lines REGEX "#[ ]*(include|if __has_include).*<asio/")
  foreach(line IN LISTS lines)
    string(REGEX REPLACE ".*<asio/([^>]+)>.*" "\\1" header "${line}")
    list(APPEND headers "${header}")
  endforeach()
endforeach()
list(REMOVE_DUPLICATES headers)

set(aio_boost_asio "${CMAKE_CURRENT_BINARY_DIR}/boost_asio")
set(include_boost ${Boost_INCLUDE_DIRS})
foreach(header IN LISTS headers)
  if(EXISTS "${include_boost}/boost/asio/${header}")  # some tests ask whether there is one
    file(CONFIGURE OUTPUT "${aio_boost_asio}/asio/${header}" @ONLY CONTENT
      "#pragma once\n#include <boost/asio/@header@>\n#include <support/boost_asio.hpp>\n")
  endif()
endforeach()
include_directories(BEFORE "${aio_boost_asio}" "${CMAKE_CURRENT_SOURCE_DIR}")
