# SPDX-License-Identifier: MIT
#
# Nothing in place of vcpkg's OpenSSL, for tests/consumer/packages: CMake finds the system's.

set(VCPKG_POLICY_EMPTY_PACKAGE enabled)
