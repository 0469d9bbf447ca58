# SPDX-License-Identifier: MIT
"""The system's OpenSSL in place of ConanCenter's, for tests/consumer/packages."""

from conan import ConanFile


class Openssl(ConanFile):
    name = "openssl"
    version = "3.0.0"

    def package_info(self):
        self.cpp_info.includedirs = self.cpp_info.bindirs = self.cpp_info.libdirs = []
        self.cpp_info.system_libs = ["ssl", "crypto"]
        self.cpp_info.set_property("cmake_target_name", "openssl::openssl")
