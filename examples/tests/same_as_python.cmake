# SPDX-License-Identifier: MIT
# cmake -D PROGRAM=… -D PYTHON=… -D TWIN=main.py -P same_as_python.cmake
#
# Runs an example and its Python twin with every delay scaled down, and compares what they print.

set(scale 0.02)  # a second takes 20 ms

execute_process(COMMAND ${PROGRAM} --scale ${scale}
  OUTPUT_VARIABLE cpp ERROR_VARIABLE cpp_errors RESULT_VARIABLE cpp_status)
execute_process(COMMAND ${PYTHON} ${CMAKE_CURRENT_LIST_DIR}/scaled.py --scale ${scale} ${TWIN}
  OUTPUT_VARIABLE python ERROR_VARIABLE python_errors RESULT_VARIABLE python_status)

if(NOT "${cpp_status}${python_status}" STREQUAL "00" OR NOT "${cpp_errors}${python_errors}" STREQUAL "")
  message(FATAL_ERROR "C++ ended with ${cpp_status}\n${cpp_errors}\nPython ended with ${python_status}\n${python_errors}")
endif()
if(NOT cpp STREQUAL python OR cpp STREQUAL "")
  message(FATAL_ERROR "C++ printed\n${cpp}\nPython printed\n${python}")
endif()
