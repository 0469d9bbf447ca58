# SPDX-License-Identifier: MIT
# shellcheck shell=sh
#
# For scripts that need a Debian with nothing but sh and apt, which the folder `root` becomes (root, debootstrap).
# shellcheck disable=SC2154  # who sources this sets it

# bare_make <suite> <mirror>: fills $root, which is there and empty
bare_make() {
  chmod 755 "$root"  # apt downloads as a user of its own
  debootstrap --variant=minbase "$1" "$root" "$2" >"$root.log" || { cat "$root.log"; return 1; }
  rm -f "$root.log"
  cp /etc/resolv.conf /etc/hosts "$root/etc/"
  for command in c++ cmake ninja make git python3 curl sudo; do
    if bare_run / "command -v $command" >/dev/null; then
      echo "bare.sh: $command is there, so this proves nothing" >&2
      return 1
    fi
  done
}

# bare_mount: what every system that runs has
bare_mount() {
  mount -t proc proc "$root/proc"
  mkdir -p "$root/dev/pts"  # terminals
  mount -t devpts -o newinstance,ptmxmode=0666 devpts "$root/dev/pts"
  ln -sf pts/ptmx "$root/dev/ptmx"
}

# bare_remove: the folder, and what is mounted there
bare_remove() {
  for place in dev/pts proc; do
    if mountpoint -q "$root/$place"; then umount "$root/$place"; fi
  done
  rm -rf --one-file-system "$root"
}

# bare_copy <project> <folder>: without what is built and what git keeps
bare_copy() {
  mkdir -p "$root/$2"
  tar -C "$1" --exclude=./build --exclude=./.git --exclude=./.cache -cf - . | tar -C "$root/$2" -xf -
}

# bare_run <folder> <command...>: in it, with the environment of a new user
bare_run() {
  folder=$1
  shift
  env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root TERM=dumb DEBIAN_FRONTEND=noninteractive \
    CMAKE_BUILD_PARALLEL_LEVEL="${CMAKE_BUILD_PARALLEL_LEVEL-}" chroot "$root" sh -c "cd $folder && $*"
}
