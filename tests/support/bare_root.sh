#!/bin/sh
# SPDX-License-Identifier: MIT
#
# Proves the README's first claim: on a Debian 12 with nothing but sh and apt, ./quickstart and ./quickstart test work.
# Makes such a system with debootstrap in a temporary folder, copies this project in (without build/ and .git), runs
# both commands there, and ./quickstart once more, which must install nothing. Needs root and debootstrap.
#
#   tests/support/bare_root.sh [suite [mirror]]
set -eu
suite=${1:-bookworm}
mirror=${2:-http://deb.debian.org/debian}
project=$(cd "$(dirname "$0")/../.." && pwd)
# shellcheck source=tests/support/bare.sh
. "$project/tests/support/bare.sh"

root=$(mktemp -d)
trap bare_remove EXIT
trap 'exit 130' INT TERM

step() { printf '\n=== %s\n' "$*"; begin=$(date +%s); }
took() { printf '=== took %s s\n' "$(($(date +%s) - begin))"; }

step "a bare $suite"
bare_make "$suite" "$mirror"
bare_mount
bare_copy "$project" aio
took

step "./quickstart"
bare_run /aio ./quickstart
took

step "./quickstart test"
bare_run /aio ./quickstart test
took

step "./quickstart again, which must install nothing"
bare_run /aio ./quickstart >"$root/again.log" 2>&1 || { cat "$root/again.log"; exit 1; }
if grep -q '^==> missing' "$root/again.log"; then
  cat "$root/again.log"
  echo "bare_root: the second run wanted to install something" >&2
  exit 1
fi
took
