# SPDX-License-Identifier: MIT

# cmake [-D heard=<folder>] -P run.cmake -- <file> <compile command...>
# Passes when the command fails with an error that matches the file's first line. What together.py heard of the file is
# looked at first, and saves the command if it matches.

cmake_minimum_required(VERSION 3.25...3.31)

set(command "")
set(behind FALSE)
math(EXPR last "${CMAKE_ARGC} - 1")
foreach(i RANGE 1 ${last})
  if(behind)
    list(APPEND command "${CMAKE_ARGV${i}}")
  elseif(CMAKE_ARGV${i} STREQUAL "--")
    set(behind TRUE)
  endif()
endforeach()
list(POP_FRONT command file)

file(STRINGS "${file}" first LIMIT_COUNT 1)
if(NOT first MATCHES "^// error: (.+)$")
  message(FATAL_ERROR "${file} must begin with: // error: <regular expression>")
endif()
set(expected "${CMAKE_MATCH_1}")

cmake_path(GET file STEM stem)
if(heard AND EXISTS "${heard}/${stem}.txt" AND NOT "${file}" IS_NEWER_THAN "${heard}/${stem}.txt")
  file(READ "${heard}/${stem}.txt" output)
  if(output MATCHES "${expected}")
    return()
  endif()
endif()

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
