# SPDX-License-Identifier: MIT
# The port, and everything that is measured.
string(REGEX REPLACE "127\\.0\\.0\\.1:[0-9]+" "127.0.0.1:PORT" output "${output}")
string(REGEX REPLACE "(http[^ ]+ +[0-9-]+ +[0-9]+) +[0-9]+ " "\\1  MS " output "${output}")
string(REGEX REPLACE "[0-9.]+ (s|times)" "N \\1" output "${output}")
# curl 8 says it in other words.
string(REGEX REPLACE "end of response with ([0-9]+) bytes missing" "transfer closed with \\1 bytes remaining to read" output "${output}")
