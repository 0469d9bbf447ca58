# SPDX-License-Identifier: MIT

vcpkg_from_github(
  OUT_SOURCE_PATH SOURCE_PATH
  REPO aio-cpp/aio
  REF "v${VERSION}"
  SHA512 0  # of the archive, which vcpkg says when it has fetched it: there is none before the first release
  HEAD_REF main)

vcpkg_check_features(OUT_FEATURE_OPTIONS FEATURE_OPTIONS FEATURES boost AIO_USE_BOOST_ASIO)
set(VCPKG_BUILD_TYPE release)  # headers only
vcpkg_cmake_configure(
  SOURCE_PATH "${SOURCE_PATH}"
  OPTIONS
    ${FEATURE_OPTIONS}
    -DAIO_BUILD_TESTS=OFF
    -DAIO_BUILD_EXAMPLES=OFF
    -DAIO_BUILD_BENCHMARKS=OFF
    -DAIO_INSTALL=ON
    -DFETCHCONTENT_FULLY_DISCONNECTED=ON)  # Asio is vcpkg's
vcpkg_cmake_install()
vcpkg_cmake_config_fixup(CONFIG_PATH share/cmake/aio)
vcpkg_fixup_pkgconfig()
set(VCPKG_POLICY_SKIP_PKGCONFIG_CHECK enabled)  # aio.pc may be in share: it links -pthread, which has no debug version

file(REMOVE_RECURSE "${CURRENT_PACKAGES_DIR}/share/doc")
file(INSTALL "${CMAKE_CURRENT_LIST_DIR}/usage" DESTINATION "${CURRENT_PACKAGES_DIR}/share/${PORT}")
vcpkg_install_copyright(FILE_LIST "${SOURCE_PATH}/LICENSE")
