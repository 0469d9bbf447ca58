# SPDX-License-Identifier: MIT

# cmake -D program=<file> -D expected=<file> -P run.cmake
# The program must succeed and, where there is an expected text, print just that.

cmake_minimum_required(VERSION 3.25...3.31)

execute_process(COMMAND "${program}" RESULT_VARIABLE code OUTPUT_VARIABLE output)
if(NOT code EQUAL 0)
  message(FATAL_ERROR "${program} ended with ${code}; it printed:\n${output}")
endif()
if(EXISTS "${expected}")
  file(READ "${expected}" text)
  if(NOT output STREQUAL text)
    message("The page says that it prints:\n${text}\nIt prints:\n${output}")
    message(FATAL_ERROR "The page's text and its program's output differ")
  endif()
endif()
