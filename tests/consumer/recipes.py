# SPDX-License-Identifier: MIT
"""recipes.py [--self-test] <project>: what can be said of recipes for package managers that are not there to try them.

Each names the project's version, address and description as config.hpp and CMakeLists.txt do; JSON and Python can be
read; Conan's recipe, with stand-ins for its modules, packs the headers. With --self-test: that mistakes are noticed.
"""

import ast
import json
import pathlib
import re
import shutil
import sys
import tempfile
import types

# Where a version stands: a pattern with one group
VERSIONS = {
    "README.md": r"GIT_TAG v([\d.]+)\)",
    "MODULE.bazel": r'module\(name = "aio", version = "([^"]*)"',
    "meson.build": r"\n  version: '([^']*)'",
    "tests/consumer/cpm/CMakeLists.txt": r'"gh:aio-cpp/aio@([^"]*)"',
    "packages/meson/aio.wrap": r"\nrevision = v(.*)\n",
    "packages/vcpkg/aio/vcpkg.json": r'"version": "([^"]*)"',
    "tools/aio_gdb.py": r'\nVERSION = "([^"]*)"',
}
ADDRESSED = {
    "README.md": r"GIT_REPOSITORY (\S+)\.git",
    "packages/conan/conanfile.py": r'url = homepage = "([^"]*)"',
    "packages/meson/aio.wrap": r"\nurl = (.*)\.git\n",
    "packages/vcpkg/aio/vcpkg.json": r'"homepage": "([^"]*)"',
    "packages/vcpkg/aio/portfile.cmake": r"\n  REPO (\S+)",
}
DESCRIBED = {
    "packages/conan/conanfile.py": r'\n    description = "([^"]*)"',
    "packages/vcpkg/aio/vcpkg.json": r'\n  "description": "([^"]*)"',
}
# The same file for another tool's reader
COPIES = {
    "packages/conan/test_package/CMakeLists.txt": "tests/consumer/find_package/CMakeLists.txt",
    "packages/conan/test_package/main.cpp": "tests/consumer/main.cpp",
}


def facts(read):
    config, cmake = read("include/aio/config.hpp"), read("CMakeLists.txt")
    version = ".".join(re.search(rf"AIO_VERSION_{part} (\d+)", config)[1] for part in ("MAJOR", "MINOR", "PATCH"))
    return version, re.search(r"HOMEPAGE_URL (\S+)", cmake)[1], re.search(r'DESCRIPTION "([^"]*)"', cmake)[1]


def includes_openssl(read):
    """The headers that include OpenSSL's, of aio/aio.hpp, aio/tls.hpp and what these include."""
    seen, names = set(), ["include/aio/aio.hpp", "include/aio/tls.hpp"]
    while names:
        name = names.pop()
        if name not in seen:
            seen.add(name)
            names += [f"include/{of}" for of in re.findall(r'#include "(aio/[^"]*)"', read(name))]
    return {name for name in seen if "#include <openssl/" in read(name)}


def mistakes_of(read):
    """Of a function that gives the text of a file."""
    version, address, description = facts(read)
    mistakes = []
    for table, expected in ((VERSIONS, version), (ADDRESSED, address), (DESCRIBED, description)):
        for name, pattern in table.items():
            found = re.findall(pattern, read(name))
            if not found:
                mistakes.append(f"{name}: there is nothing like {pattern}")
            for text in found:
                if text != expected and f"https://github.com/{text}" != expected:
                    mistakes.append(f"{name}: {text} instead of {expected}")
    for copy, original in COPIES.items():
        if read(copy) != read(original):
            mistakes.append(f"{copy} is not {original}")
    left_out = set(re.findall(r'"(include/[^"*]*)"', read("BUILD.bazel")))
    if left_out != includes_openssl(read):
        mistakes.append(f"BUILD.bazel: leave out {sorted(includes_openssl(read))} instead of {sorted(left_out)}")
    try:
        json.loads(read("packages/vcpkg/aio/vcpkg.json"))
    except json.JSONDecodeError as error:
        mistakes.append(f"packages/vcpkg/aio/vcpkg.json: {error}")
    for name in ("packages/conan/conanfile.py", "packages/conan/test_package/conanfile.py", "MODULE.bazel",
                 "BUILD.bazel"):
        try:
            ast.parse(read(name))  # what Bazel reads is Python's grammar, too
        except SyntaxError as error:
            mistakes.append(f"{name}: {error}")
    return mistakes


def conan_packs(project, boost):
    """What Conan's recipe exports and packs, where conan.tools.files are these."""
    def module(name, **members):
        sys.modules[name] = types.ModuleType(name)
        vars(sys.modules[name]).update(members)

    def copy(_, pattern, src, dst):
        for path in pathlib.Path(src).rglob("*"):
            # Conan's patterns are fnmatch's: "*" stands for folders, too.
            if path.is_file() and re.fullmatch(re.escape(pattern).replace(r"\*", ".*"), str(path.relative_to(src))):
                to = pathlib.Path(dst) / path.relative_to(src)
                to.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(path, to)

    class Component(types.SimpleNamespace):
        def set_property(self, name, value):
            setattr(self, name, value)

    class Components(dict):
        def __missing__(self, name):
            self[name] = Component(defines=[], requires=[], system_libs=[])
            return self[name]

    module("conan", ConanFile=object)
    module("conan.tools")
    module("conan.tools.build", check_min_cppstd=lambda *_: None)
    module("conan.tools.files", copy=copy, load=lambda _, name: pathlib.Path(name).read_text(encoding="utf-8"))
    module("conan.tools.layout", basic_layout=lambda *_: None)
    name = project / "packages/conan/conanfile.py"
    recipe_module = types.ModuleType("recipe")
    exec(compile(name.read_text(encoding="utf-8"), str(name), "exec"), vars(recipe_module))

    with tempfile.TemporaryDirectory() as folder:
        recipe = recipe_module.AioConan()
        recipe.recipe_folder = str(name.parent)
        recipe.export_sources_folder = recipe.source_folder = f"{folder}/sources"
        recipe.package_folder = f"{folder}/package"
        recipe.options = types.SimpleNamespace(tls=True, boost=boost)
        recipe.settings = types.SimpleNamespace(compiler="clang", os="Linux")
        recipe.cpp_info = Component(components=Components())
        required = []
        recipe.requires = required.append
        recipe.set_version()
        recipe.requirements()
        recipe.export_sources()
        recipe.package()
        recipe.package_info()
        package = pathlib.Path(recipe.package_folder)
        packed = {str(path.relative_to(package)) for path in package.rglob("*.*")}
        licensed = (package / "licenses/LICENSE").exists()
    headers = {str(path.relative_to(project)) for path in (project / "include").rglob("*.hpp")}
    known = {"aio", *(of.split("/")[0] for of in required)}
    mistakes = [f"conanfile.py packs {sorted(packed ^ (headers | {'res/aio_gdb.py'}))} instead"] \
        if packed != headers | {"res/aio_gdb.py"} else []
    if not licensed:
        mistakes.append("conanfile.py packs no licence")
    for component in recipe.cpp_info.components.values():
        mistakes += [f"conanfile.py: nothing gives {name}" for name in component.requires
                     if name.split("::")[0] not in known]
    if recipe.version != facts(lambda of: (project / of).read_text(encoding="utf-8"))[0]:
        mistakes.append(f"conanfile.py says it is version {recipe.version}")
    return mistakes


def self_test(read):
    for name, good, bad in (("README.md", "GIT_TAG v", "GIT_TAG v1"),
                            ("MODULE.bazel", 'version = "0', 'version = "7'),
                            ("BUILD.bazel", "include/aio/tls_error.hpp", "include/aio/run.hpp"),
                            ("include/aio/lock.hpp", "#include", "#include <openssl/ssl.h>\n#include"),
                            ("meson.build", "version: '0", "version: '7"),
                            ("packages/meson/aio.wrap", "revision = v", "revision = main"),
                            ("packages/meson/aio.wrap", "github.com/", "github.com/x"),
                            ("packages/vcpkg/aio/vcpkg.json", '"version": "', '"version": "7'),
                            ("packages/vcpkg/aio/vcpkg.json", "[", "]"),
                            ("packages/vcpkg/aio/portfile.cmake", "REPO ", "REPO x"),
                            ("packages/conan/conanfile.py", "asyncio for", "for"),
                            ("packages/conan/conanfile.py", "def ", "def def "),
                            ("packages/conan/test_package/main.cpp", "hello", "hallo"),
                            ("include/aio/config.hpp", "VERSION_MINOR ", "VERSION_MINOR 7")):
        assert good in read(name), (name, good)
        assert mistakes_of(lambda of: read(of).replace(good, bad, 1) if of == name else read(of)), (name, bad)


def main():
    project = pathlib.Path(sys.argv[-1])

    def read(name):
        return (project / name).read_text(encoding="utf-8")

    if sys.argv[1] == "--self-test":
        self_test(read)
        return
    mistakes = mistakes_of(read) or conan_packs(project, boost=False) or conan_packs(project, boost=True)
    if mistakes:
        sys.exit("\n".join(mistakes))


if __name__ == "__main__":
    main()
