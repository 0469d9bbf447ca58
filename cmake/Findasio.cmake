# SPDX-License-Identifier: MIT

# Finds standalone Asio, which has no CMake package of its own, and makes the target asio::asio. It takes the first of
#   a target asio::asio that exists already,
#   a package configuration that defines one (vcpkg, Conan),
#   plain headers (Debian, Fedora, Homebrew, -Dasio_ROOT=<folder>).
# The targets are global: aio may be a subproject, and its users link in folders above it.

include(FindPackageHandleStandardArgs)

if(NOT TARGET asio::asio AND NOT asio_INCLUDE_DIR)
  block()
    unset(asio_FIND_VERSION_COMPLETE)  # else inherited below, and vcpkg's has no version file; the headers check it
    find_package(asio CONFIG QUIET GLOBAL)
  endblock()
  if(TARGET asio AND NOT TARGET asio::asio)
    add_library(asio::asio ALIAS asio)
  endif()
endif()
if(TARGET asio::asio)
  set(asio_FOUND TRUE)
  return()
endif()

find_path(asio_INCLUDE_DIR asio/version.hpp PATH_SUFFIXES asio/include)
mark_as_advanced(asio_INCLUDE_DIR)
if(asio_INCLUDE_DIR)
  file(STRINGS "${asio_INCLUDE_DIR}/asio/version.hpp" asio_VERSION REGEX "^#define ASIO_VERSION [0-9]+")
  string(REGEX REPLACE "^#define ASIO_VERSION ([0-9]+).*" "\\1" asio_VERSION "${asio_VERSION}")
  math(EXPR asio_VERSION_MAJOR "${asio_VERSION} / 100000")  # 102201 is 1.22.1
  math(EXPR asio_VERSION_MINOR "${asio_VERSION} / 100 % 1000")
  math(EXPR asio_VERSION_PATCH "${asio_VERSION} % 100")
  set(asio_VERSION ${asio_VERSION_MAJOR}.${asio_VERSION_MINOR}.${asio_VERSION_PATCH})
endif()

find_package_handle_standard_args(asio REQUIRED_VARS asio_INCLUDE_DIR VERSION_VAR asio_VERSION)

if(asio_FOUND)
  add_library(asio::asio INTERFACE IMPORTED GLOBAL)
  set_target_properties(asio::asio PROPERTIES
    INTERFACE_INCLUDE_DIRECTORIES "${asio_INCLUDE_DIR}"
    INTERFACE_COMPILE_DEFINITIONS ASIO_STANDALONE)
endif()
