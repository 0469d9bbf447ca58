# SPDX-License-Identifier: MIT

# cmake -P run.cmake -- <file> <compile command...>
# Passes when the command fails with an error that matches the file's first line.

cmake_minimum_required(VERSION 3.25...3.31)

set(file "${CMAKE_ARGV4}")
set(command "")
math(EXPR last "${CMAKE_ARGC} - 1")
foreach(i RANGE 5 ${last})
  list(APPEND command "${CMAKE_ARGV${i}}")
endforeach()

file(STRINGS "${file}" first LIMIT_COUNT 1)
if(NOT first MATCHES "^// error: (.+)$")
  message(FATAL_ERROR "${file} must begin with: // error: <regular expression>")
endif()
set(expected "${CMAKE_MATCH_1}")

set(ENV{LC_ALL} C)  # quotes in ASCII
execute_process(COMMAND ${command} RESULT_VARIABLE code OUTPUT_VARIABLE output ERROR_VARIABLE output)
if(code EQUAL 0)
  message("${file} compiles, but should fail with: ${expected}")
elseif(NOT output MATCHES "${expected}")
  message("${file} fails to compile, but not with: ${expected}\nbut with:\n${output}")
else()
  return()
endif()
message(FATAL_ERROR "compile_fail")
