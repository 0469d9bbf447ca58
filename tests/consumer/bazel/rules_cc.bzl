# SPDX-License-Identifier: MIT
"""In place of rules_cc: the rules that Bazel 4 has itself. Two of these its own files want."""

cc_binary = native.cc_binary
cc_library = native.cc_library
cc_toolchain = native.cc_toolchain
cc_toolchain_suite = native.cc_toolchain_suite
