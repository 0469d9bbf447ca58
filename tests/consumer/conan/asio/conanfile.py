# SPDX-License-Identifier: MIT
"""The system's Asio in place of ConanCenter's, for tests/consumer/packages: its folder is AIO_ASIO's."""

import os

from conan import ConanFile


class Asio(ConanFile):
    name = "asio"
    version = "1.22.1"
    package_type = "header-library"

    def package_info(self):
        self.cpp_info.includedirs = [os.environ["AIO_ASIO"]]
        self.cpp_info.bindirs = self.cpp_info.libdirs = []
        self.cpp_info.set_property("cmake_target_name", "asio::asio")
