# SPDX-License-Identifier: MIT

# `cpack -G DEB` and `cpack -G TGZ` in a build folder: what `cmake --install` installs, as a package. Nothing is built
# for it, so a folder that was only configured will do.

set(CPACK_PACKAGE_NAME aio)
set(CPACK_PACKAGE_FILE_NAME "aio-${PROJECT_VERSION}")
set(CPACK_PACKAGE_VENDOR aio)
set(CPACK_PACKAGE_CONTACT "the aio authors <${PROJECT_HOMEPAGE_URL}>")
set(CPACK_PACKAGE_CHECKSUM SHA256)
set(CPACK_RESOURCE_FILE_LICENSE "${PROJECT_SOURCE_DIR}/LICENSE")
set(CPACK_GENERATOR TGZ)
set(CPACK_INSTALL_DEFAULT_DIRECTORY_PERMISSIONS  # not those of the umask
  OWNER_READ OWNER_WRITE OWNER_EXECUTE GROUP_READ GROUP_EXECUTE WORLD_READ WORLD_EXECUTE)

# Debian's libaio-dev is another library, of which no file has the name of one here: both may be installed.
set(CPACK_DEBIAN_PACKAGE_NAME libaio-cpp-dev)
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_ARCHITECTURE all)
set(CPACK_DEBIAN_PACKAGE_SECTION libdevel)
set(CPACK_DEBIAN_PACKAGE_DEPENDS "libasio-dev (>= 1:1.22)")
if(AIO_USE_BOOST_ASIO)
  set(CPACK_DEBIAN_PACKAGE_DEPENDS "libboost1.81-dev | libboost-dev (>= 1.81)")
endif()
set(CPACK_DEBIAN_PACKAGE_SUGGESTS "libssl-dev (>= 1.1.1), cmake (>= 3.25), pkg-config")
set(CPACK_DEBIAN_PACKAGE_DESCRIPTION  # below the project's
  "Coroutines, tasks, streams and servers with the names, the meaning and the
order of events of Python's asyncio. Headers only.")

set(CMAKE_SKIP_INSTALL_ALL_DEPENDENCY ON)  # Make would build all that there is
include(CPack)
