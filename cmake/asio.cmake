# SPDX-License-Identifier: MIT

# Makes asio::asio: the installed one, else a pinned release (headers only, needs git).
# A copy of your own: -Dasio_ROOT=<folder>, or -DFETCHCONTENT_SOURCE_DIR_ASIO=<checkout>.

list(PREPEND CMAKE_MODULE_PATH "${PROJECT_SOURCE_DIR}/cmake")
if(NOT FETCHCONTENT_SOURCE_DIR_ASIO)
  find_package(asio 1.22 QUIET)
endif()

if(NOT TARGET asio::asio)
  message(STATUS "aio: no installed Asio 1.22 or newer, fetching 1.38.2. To use a package instead: "
    "apt-get install libasio-dev, dnf install asio-devel, brew install asio, vcpkg install asio, or -Dasio_ROOT=<folder>")
  include(FetchContent)
  FetchContent_Declare(asio
    GIT_REPOSITORY https://github.com/chriskohlhoff/asio.git
    GIT_TAG        8806a6803cde7054c3049d3666d3ec36786568c5  # asio-1-38-2
    SOURCE_SUBDIR  none)  # headers only: nothing in it is configured
  FetchContent_MakeAvailable(asio)
  find_path(asio_INCLUDE_DIR asio/version.hpp
    PATHS "${asio_SOURCE_DIR}" PATH_SUFFIXES include asio/include NO_DEFAULT_PATH REQUIRED)
  find_package(asio 1.22 REQUIRED MODULE)
endif()
list(REMOVE_ITEM CMAKE_MODULE_PATH "${PROJECT_SOURCE_DIR}/cmake")
