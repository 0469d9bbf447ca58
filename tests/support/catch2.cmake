# SPDX-License-Identifier: MIT

# Makes aio_catch2 (with a main) and catch_discover_tests: an installed Catch2 v3, else v2.13 (Debian 12), else a pinned
# release, which is compiled here. A copy of your own: -DFETCHCONTENT_SOURCE_DIR_CATCH2=<checkout>.

if(NOT FETCHCONTENT_SOURCE_DIR_CATCH2)
  find_package(Catch2 3 CONFIG QUIET)
  if(NOT Catch2_FOUND)
    find_package(Catch2 2.13 CONFIG QUIET)
  endif()
endif()

if(Catch2_FOUND)
  list(APPEND CMAKE_MODULE_PATH "${Catch2_DIR}")
else()
  message(STATUS "aio: no installed Catch2, fetching 3.7.1 (Debian has it as catch2; -DAIO_BUILD_TESTS=OFF needs none)")
  include(FetchContent)
  FetchContent_Declare(Catch2
    GIT_REPOSITORY https://github.com/catchorg/Catch2.git
    GIT_TAG        fa43b77429ba76c462b1898d6cd2f2d7a9416b14)  # v3.7.1
  FetchContent_MakeAvailable(Catch2)
  set_target_properties(Catch2 PROPERTIES SYSTEM ON COMPILE_WARNING_AS_ERROR OFF)
  if(CMAKE_CXX_COMPILER_ID MATCHES "GNU|Clang")
    target_compile_options(Catch2 PRIVATE -w -O0)
  endif()
  list(APPEND CMAKE_MODULE_PATH "${catch2_SOURCE_DIR}/extras")
  set(Catch2_VERSION 3.7.1)
endif()
message(STATUS "aio: tests with Catch2 ${Catch2_VERSION}")

add_library(aio_catch2 INTERFACE)
if(Catch2_VERSION VERSION_LESS 3)
  # Debian has v2's main() as a library: twelve seconds less, and each test starts faster.
  if(TARGET Catch2::Catch2WithMain AND NOT CMAKE_CXX_FLAGS MATCHES "-fsanitize")
    include(CheckCXXSourceCompiles)
    set(CMAKE_REQUIRED_FLAGS ${CMAKE_CXX20_STANDARD_COMPILE_OPTION})
    set(CMAKE_REQUIRED_LIBRARIES Catch2::Catch2WithMain)
    check_cxx_source_compiles("#include <string_view>
#include <catch2/catch.hpp>
TEST_CASE(\"a test\") { CHECK(std::string_view(\"one\") != \"two\"); }" AIO_CATCH2_LIBRARY_FITS)
    unset(CMAKE_REQUIRED_FLAGS)
    unset(CMAKE_REQUIRED_LIBRARIES)
  endif()
  if(AIO_CATCH2_LIBRARY_FITS)
    target_link_libraries(aio_catch2 INTERFACE Catch2::Catch2WithMain)
  else()
    add_library(aio_catch2_main STATIC support/catch_main.cpp)
    target_link_libraries(aio_catch2_main PUBLIC Catch2::Catch2)
    target_compile_features(aio_catch2_main PRIVATE cxx_std_20)
    if(CMAKE_CXX_COMPILER_ID MATCHES "GNU|Clang")
      target_compile_options(aio_catch2_main PRIVATE -w -O0)  # 20 s less with sanitizers
    endif()
    target_link_libraries(aio_catch2 INTERFACE aio_catch2_main)
  endif()
else()
  target_link_libraries(aio_catch2 INTERFACE Catch2::Catch2WithMain)
endif()
include(Catch)
