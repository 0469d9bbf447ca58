# SPDX-License-Identifier: MIT

# CMake takes what is precompiled for headers of the system, and in those Clang counts nothing (tests/support/coverage).
if(CMAKE_CXX_FLAGS MATCHES "-fcoverage-mapping")
  set(CMAKE_PCH_PROLOGUE "")
endif()

# aio_share_precompiled(<target>...): these programs of aio's own take aio.hpp precompiled, once for all of them. To read
# it is most of what a small program costs, twice as much as all the rest. Who builds one of them alone does without.
function(aio_share_precompiled)
  if(NOT TARGET aio_precompiled)
    file(WRITE "${PROJECT_BINARY_DIR}/precompiled.cpp" "")
    add_library(aio_precompiled OBJECT "${PROJECT_BINARY_DIR}/precompiled.cpp")
    target_link_libraries(aio_precompiled PRIVATE aio::aio)
    target_precompile_headers(aio_precompiled PRIVATE <aio/aio.hpp>)
  endif()
  foreach(target IN LISTS ARGN)
    target_precompile_headers(${target} REUSE_FROM aio_precompiled)
  endforeach()
endfunction()
