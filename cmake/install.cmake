# SPDX-License-Identifier: MIT

include(GNUInstallDirs)
include(CMakePackageConfigHelpers)
set(package "${CMAKE_INSTALL_DATADIR}/cmake/aio")  # share, not lib: aio is the same on every architecture

install(TARGETS aio EXPORT aio FILE_SET HEADERS)
install(EXPORT aio NAMESPACE aio:: DESTINATION ${package} FILE aio-targets.cmake)
install(TARGETS aio_tls EXPORT aio-tls FILE_SET HEADERS)
install(EXPORT aio-tls NAMESPACE aio:: DESTINATION ${package} FILE aio-tls-targets.cmake)

configure_package_config_file(cmake/aio-config.cmake.in aio-config.cmake INSTALL_DESTINATION ${package}
  PATH_VARS CMAKE_INSTALL_INCLUDEDIR)
write_basic_package_version_file(aio-config-version.cmake COMPATIBILITY SameMinorVersion ARCH_INDEPENDENT)
configure_file(cmake/aio.pc.in aio.pc @ONLY)
configure_file(cmake/aio-tls.pc.in aio-tls.pc @ONLY)

install(FILES
    "${PROJECT_BINARY_DIR}/aio-config.cmake"
    "${PROJECT_BINARY_DIR}/aio-config-version.cmake"
    "${PROJECT_SOURCE_DIR}/cmake/Findasio.cmake"
    "${PROJECT_SOURCE_DIR}/cmake/aio-module.cmake"
  DESTINATION ${package})
install(FILES "${PROJECT_BINARY_DIR}/aio.pc" "${PROJECT_BINARY_DIR}/aio-tls.pc" DESTINATION "${CMAKE_INSTALL_DATADIR}/pkgconfig")
install(FILES include/aio/aio.cppm DESTINATION "${CMAKE_INSTALL_INCLUDEDIR}/aio")
install(FILES tools/aio_gdb.py DESTINATION "${CMAKE_INSTALL_DATADIR}/aio")  # docs/debugging.md
install(FILES cmake/new_project.cmake DESTINATION "${CMAKE_INSTALL_DATADIR}/aio")
install(DIRECTORY examples DESTINATION "${CMAKE_INSTALL_DATADIR}/aio"
  FILES_MATCHING PATTERN "*.cpp" PATTERN "*.hpp" PATTERN "*/CMakeLists.txt"
  REGEX "examples/(CMakeLists.txt|tests|[a-z_]+/tests)$" EXCLUDE)  # its templates
install(FILES LICENSE DESTINATION "${CMAKE_INSTALL_DOCDIR}")
