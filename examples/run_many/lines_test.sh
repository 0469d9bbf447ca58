# SPDX-License-Identifier: MIT
# lines_test.sh <run_many>: commands from the standard input, and the status.
set -e
printf 'echo a\n\nsleep 0.1; echo b' | "$1" -j 2 >/dev/null
status=0
out=$(printf 'exit 4\nsleep 1000\n' | "$1" -j 2 -t 0.3) || status=$?
test "$status" = 1
test "$out" = 'exit 4
  exit status 4
sleep 1000
  took too long
2 commands, 2 failed'
if "$1" --help 2>/dev/null; then exit 1; fi
