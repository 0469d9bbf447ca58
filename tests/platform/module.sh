#!/bin/sh
# SPDX-License-Identifier: MIT
#
# module.sh <folder> <Clang and its options...>: compiles aio/aio.cppm and module.cpp in the folder, and runs that
set -eu
here=$(cd "$(dirname "$0")" && pwd)
mkdir -p "$1" && cd "$1"
shift
"$@" -std=c++20 -O0 -pthread --precompile "$here/../../include/aio/aio.cppm" -o aio.pcm
"$@" -std=c++20 -O0 -pthread -fmodule-file=aio=aio.pcm "$here/module.cpp" aio.pcm -o program
./program
