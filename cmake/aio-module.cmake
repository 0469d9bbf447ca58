# SPDX-License-Identifier: MIT
#
# The target aio::module: a library made of aio/aio.cppm, for `import aio;`. Included where it was asked for, in aio's own
# build and in that of a program that has found it, for the one that imports a module compiles it: aio_module_folder is
# where `aio/aio.cppm` lies.

if(CMAKE_VERSION VERSION_LESS 3.28)
  message(FATAL_ERROR "aio::module needs CMake 3.28, which knows modules; this is ${CMAKE_VERSION}")
endif()
if(NOT TARGET aio::module)
  add_library(aio_module STATIC EXCLUDE_FROM_ALL)
  add_library(aio::module ALIAS aio_module)
  target_sources(aio_module PUBLIC FILE_SET CXX_MODULES
    BASE_DIRS "${aio_module_folder}" FILES "${aio_module_folder}/aio/aio.cppm")
  target_link_libraries(aio_module PUBLIC aio::aio)
endif()
