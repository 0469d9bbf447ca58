#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Makes a release, as far as it can be made here.

    tools/release.py 0.2.0            what would be done
    tools/release.py 0.2.0 --commit   sets the version wherever it stands, gives the changes their heading, commits, tags
    tools/release.py --self-test

Before: .ci/run --all has passed on this commit, and CHANGELOG.md says under "Unreleased" what changed. Nothing leaves
this machine; what to push, and the archive's sum for the recipes, it prints. A version is MAJOR.MINOR.PATCH, above the
one before unless that was never tagged.
"""

import argparse
import datetime
import hashlib
import importlib.util
import pathlib
import re
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent.parent
HEADING = "## [Unreleased]\n"
PARTS = ("MAJOR", "MINOR", "PATCH")


class Refused(Exception):
    pass


def recipes():
    """Where versions stand is said once, for the test that compares them."""
    spec = importlib.util.spec_from_file_location("recipes", HERE / "tests" / "consumer" / "recipes.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def numbers(version):
    if not re.fullmatch(r"(0|[1-9]\d*)(\.(0|[1-9]\d*)){2}", version):
        raise Refused(f"{version} is no MAJOR.MINOR.PATCH")
    return tuple(int(part) for part in version.split("."))


def in_config(text, version):
    for part, number in zip(PARTS, numbers(version)):
        text, count = re.subn(rf"(#define AIO_VERSION_{part}) \d+", rf"\1 {number}", text)
        if count != 1:
            raise Refused(f"config.hpp has {count} AIO_VERSION_{part}")
    return text


def replaced(text, pattern, version):
    return re.sub(pattern, lambda found: found[0].replace(found[1], version), text)


def unreleased(changes):
    """The text under that heading."""
    if changes.count(HEADING) != 1:
        raise Refused('CHANGELOG.md has to have one heading "Unreleased"')
    section = changes.split(HEADING)[1]
    return re.split(r"^## ", section, maxsplit=1, flags=re.M)[0]


def released(changes, version, day):
    section = unreleased(changes)
    if not re.search(r"^- ", section, re.M):
        raise Refused('CHANGELOG.md says nothing under "Unreleased"')
    if re.search(r"^Will be ", section, re.M):
        raise Refused('CHANGELOG.md: take out "Will be ...", and what is only for those who followed the repository')
    return changes.replace(HEADING, f"{HEADING}\n## [{version}] - {day}\n")


def edits(read, version, day):
    """path -> text, of the files that change."""
    made = {"include/aio/config.hpp": in_config(read("include/aio/config.hpp"), version),
            "CHANGELOG.md": released(read("CHANGELOG.md"), version, day)}
    made.update({path: replaced(read(path), pattern, version) for path, pattern in recipes().VERSIONS.items()})
    return {path: text for path, text in made.items() if text != read(path)}


def git(*arguments):
    done = subprocess.run(["git", "-C", HERE, *arguments], capture_output=True, check=False)
    if done.returncode != 0:
        raise Refused(f"git {' '.join(arguments)}: {done.stderr.decode().strip()}")
    return done.stdout


def release(version, commit):
    tags = git("tag", "--list", "v*").decode().split()
    newest = max((numbers(tag[1:]) for tag in tags), default=(0, 0, 0))
    if numbers(version) <= newest:
        raise Refused(f"{version} is not above {'.'.join(map(str, newest))}")
    if git("status", "--porcelain").strip():
        raise Refused("there are changes that are not committed")
    day = datetime.date.today().isoformat()
    made = edits(lambda path: (HERE / path).read_text(), version, day)
    for path, text in made.items():
        print("changes", path)
        if commit:
            (HERE / path).write_text(text)
    if not commit:
        print(f"would commit and tag v{version}; with --commit it does")
        return
    git("commit", "--all", "--message", f"Version {version}")
    git("tag", "--annotate", f"v{version}", "--message", f"aio {version}")
    archive = git("archive", "--format=tar.gz", f"--prefix=aio-{version}/", f"v{version}")
    print(f"SHA512 of an archive of v{version}: {hashlib.sha512(archive).hexdigest()}")
    print(f"GitHub packs its own: compare before it goes into packages/vcpkg/aio/portfile.cmake\n"
          f"now: git push origin main v{version}")


def self_test():
    texts = {path: (HERE / path).read_text() for path in ["include/aio/config.hpp", *recipes().VERSIONS]}
    texts["CHANGELOG.md"] = f"# Changes\n\n{HEADING}\n### Added\n\n- a thing\n\n## [0.0.1] - 2020-01-01\n\n- nothing\n"
    made = edits(texts.get, "7.8.9", "2031-02-03")
    assert set(made) == set(texts), "each of them has the version"
    after = {**texts, **made}
    assert recipes().facts(lambda path: after.get(path) or (HERE / path).read_text())[0] == "7.8.9"
    for path, pattern in recipes().VERSIONS.items():
        assert set(re.findall(pattern, after[path])) == {"7.8.9"}, path
    assert "## [Unreleased]\n\n## [7.8.9] - 2031-02-03\n\n### Added\n\n- a thing" in after["CHANGELOG.md"]
    for wrong in ("1.2", "1.2.3.4", "01.2.3", "v1.2.3", "1.2.x"):
        refuses(numbers, wrong)
    refuses(released, "# Changes\n", "1.0.0", "")
    refuses(released, f"{HEADING}\n## [0.1.0]\n\n- a thing\n", "1.0.0", "")
    refuses(released, f"{HEADING}\nWill be 1.0.0.\n\n- a thing\n", "1.0.0", "")
    with tempfile.TemporaryDirectory() as folder:  # the same as a program
        done = subprocess.run([sys.executable, __file__, "0.0.0"], capture_output=True, text=True, cwd=folder, check=False)
        assert done.returncode == 1 and "0.0.0 is not above" in done.stderr, done


def refuses(function, *arguments):
    try:
        function(*arguments)
    except Refused:
        return
    raise AssertionError(f"{function.__name__}{arguments} was not refused")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("version", nargs="?")
    parser.add_argument("--commit", action="store_true")
    parser.add_argument("--self-test", action="store_true")
    given = parser.parse_args()
    if given.self_test:
        self_test()
        return
    if not given.version:
        parser.error("which version?")
    try:
        release(given.version, given.commit)
    except Refused as why:
        sys.exit(f"release.py: {why}")


if __name__ == "__main__":
    main()
