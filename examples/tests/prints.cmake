# SPDX-License-Identifier: MIT
# cmake -D PROGRAM=… -D EXPECTED=expected.txt [-D MASKS=masks.cmake] -P prints.cmake
#
# Runs an example and compares what it prints with a file. MASKS replaces in `output` what differs from run to run.

execute_process(COMMAND ${PROGRAM} OUTPUT_VARIABLE output ERROR_VARIABLE errors RESULT_VARIABLE status)
file(READ ${EXPECTED} expected)

if(NOT status STREQUAL "0" OR NOT errors STREQUAL "")
  message(FATAL_ERROR "ended with ${status}\n${errors}\nafter printing\n${output}")
endif()
if(MASKS)
  include(${MASKS})
endif()
if(NOT output STREQUAL expected)
  message(FATAL_ERROR "printed\n${output}\nexpected\n${expected}")
endif()
