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

root=$(mktemp -d)
chmod 755 "$root"  # apt downloads as a user of its own
clean_up() {
  for place in dev/pts proc; do
    if mountpoint -q "$root/$place"; then umount "$root/$place"; fi
  done
  rm -rf --one-file-system "$root"
}
trap clean_up EXIT
trap 'exit 130' INT TERM

step() { printf '\n=== %s\n' "$*"; begin=$(date +%s); }
took() { printf '=== took %s s\n' "$(($(date +%s) - begin))"; }
inside() {
  env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root TERM=dumb \
    CMAKE_BUILD_PARALLEL_LEVEL="${CMAKE_BUILD_PARALLEL_LEVEL-}" chroot "$root" sh -c "cd /aio && $*"
}

step "a bare $suite"
debootstrap --variant=minbase "$suite" "$root" "$mirror" >"$root.log" || { cat "$root.log"; exit 1; }
rm -f "$root.log"
mount -t proc proc "$root/proc"
mkdir -p "$root/dev/pts"  # terminals, as every system that runs has them
mount -t devpts -o newinstance,ptmxmode=0666 devpts "$root/dev/pts"
ln -sf pts/ptmx "$root/dev/ptmx"
cp /etc/resolv.conf /etc/hosts "$root/etc/"
mkdir "$root/aio"
tar -C "$project" --exclude=./build --exclude=./.git --exclude=./.cache -cf - . | tar -C "$root/aio" -xf -
took
for command in c++ cmake ninja make git python3 curl sudo; do
  if inside "command -v $command"; then echo "bare_root: $command is there, so this proves nothing" >&2; exit 1; fi
done

step "./quickstart"
inside ./quickstart
took

step "./quickstart test"
inside ./quickstart test
took

step "./quickstart again, which must install nothing"
inside ./quickstart >"$root/again.log" 2>&1 || { cat "$root/again.log"; exit 1; }
if grep -q '^==> missing' "$root/again.log"; then
  cat "$root/again.log"
  echo "bare_root: the second run wanted to install something" >&2
  exit 1
fi
took
