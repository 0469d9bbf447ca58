# SPDX-License-Identifier: MIT
"""aio for Conan 2: `conan create packages/conan` in a checkout."""

import os
import re

from conan import ConanFile
from conan.tools.build import check_min_cppstd
from conan.tools.files import copy, load
from conan.tools.layout import basic_layout

required_conan_version = ">=2.0"


class AioConan(ConanFile):
    name = "aio"
    description = "asyncio for C++20, on standalone Asio"
    license = "MIT"
    url = homepage = "https://github.com/aio-cpp/aio"
    topics = ("asyncio", "coroutines", "asio", "header-only")
    package_type = "header-library"
    settings = "os", "arch", "compiler", "build_type"
    options = {"tls": [True, False], "boost": [True, False]}  # boost: docs/boost.md
    default_options = {"tls": False, "boost": False}
    no_copy_source = True

    @property
    def _checkout(self):
        return os.path.join(self.recipe_folder, os.pardir, os.pardir)

    def set_version(self):
        config = load(self, os.path.join(self._checkout, "include", "aio", "config.hpp"))
        parts = dict(re.findall(r"#define AIO_VERSION_(MAJOR|MINOR|PATCH) (\d+)", config))
        self.version = ".".join(parts[part] for part in ("MAJOR", "MINOR", "PATCH"))

    def export_sources(self):
        for pattern in ("include/*", "tools/aio_gdb.py", "LICENSE"):
            copy(self, pattern, src=self._checkout, dst=self.export_sources_folder)

    def layout(self):
        basic_layout(self)

    def requirements(self):
        if self.options.boost:
            self.requires("boost/[>=1.81 <2]")
        else:
            self.requires("asio/[>=1.22 <2]")
        if self.options.tls:
            self.requires("openssl/[>=1.1.1 <4]")

    def package_id(self):
        self.info.clear()

    def validate(self):
        check_min_cppstd(self, 20)

    def package(self):
        copy(self, "*.hpp", src=os.path.join(self.source_folder, "include"),
             dst=os.path.join(self.package_folder, "include"))
        copy(self, "aio_gdb.py", src=os.path.join(self.source_folder, "tools"),
             dst=os.path.join(self.package_folder, "res"))
        copy(self, "LICENSE", src=self.source_folder, dst=os.path.join(self.package_folder, "licenses"))

    def package_info(self):
        self.cpp_info.set_property("cmake_file_name", "aio")
        core = self.cpp_info.components["aio"]
        core.set_property("cmake_target_name", "aio::aio")
        core.set_property("pkg_config_name", "aio")
        core.requires = ["boost::headers" if self.options.boost else "asio::asio"]
        core.defines = ["AIO_USE_BOOST_ASIO" if self.options.boost else "ASIO_STANDALONE"]
        if "clang" in str(self.settings.compiler):
            # With Clang, Asio 1.22 has its own coroutines only when it is told so.
            prefix = "BOOST_" if self.options.boost else ""
            core.defines += [f"{prefix}ASIO_HAS_CO_AWAIT=1", f"{prefix}ASIO_HAS_STD_COROUTINE=1"]
        components = [core]
        if self.options.tls:
            tls = self.cpp_info.components["tls"]
            tls.set_property("cmake_target_name", "aio::tls")
            tls.set_property("pkg_config_name", "aio-tls")
            tls.requires = ["aio", "openssl::openssl"]
            components.append(tls)
        for component in components:
            component.bindirs = component.libdirs = []
        if self.settings.os in ("Linux", "FreeBSD"):
            core.system_libs = ["pthread"]
        elif self.settings.os == "Windows":
            core.system_libs = ["ws2_32", "mswsock"]
            core.defines += ["_WIN32_WINNT=0x0A00"]
