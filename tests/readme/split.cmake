# SPDX-License-Identifier: MIT

# cmake -D readme=<README.md> -D blocks=<folder> -P split.cmake
# Writes each fenced block to a file named after the line it begins at: line_012.program.cpp, line_034.cmake, ...

cmake_minimum_required(VERSION 3.25...3.31)

file(REMOVE_RECURSE "${blocks}.new")
file(READ "${readme}" rest)
string(PREPEND rest "\n")
set(line 0)
set(program "")  # the last program, while nothing but empty lines follows it

string(FIND "${rest}" "\n```" begin)
while(NOT begin EQUAL -1)
  string(SUBSTRING "${rest}" 0 ${begin} before)
  math(EXPR begin "${begin} + 4")
  string(SUBSTRING "${rest}" ${begin} -1 rest)
  string(REGEX MATCH "^[^\n]*" language "${rest}")
  string(LENGTH "${language}" length)
  string(SUBSTRING "${rest}" ${length} -1 rest)  # from the end of the opening fence
  string(FIND "${rest}" "\n```" end)
  if(end EQUAL -1)
    message(FATAL_ERROR "README.md: a block of ${language} does not end")
  endif()
  string(SUBSTRING "${rest}" 1 ${end} block)
  math(EXPR end "${end} + 4")
  string(SUBSTRING "${rest}" ${end} -1 rest)

  string(REGEX MATCHALL "\n" newlines "${before}")
  list(LENGTH newlines count)
  math(EXPR line "${line} + ${count} + 2")  # the block's first line
  set(name "${line}")
  while(name MATCHES "^..?$")
    string(PREPEND name 0)
  endwhile()
  string(PREPEND name "${blocks}.new/line_")

  if(language STREQUAL "cpp" AND block MATCHES "int main\\(")
    file(WRITE "${name}.program.cpp" "#line ${line} \"${readme}\"\n${block}")
    set(program "${name}")
  elseif(language STREQUAL "cpp")
    set(source "#line ${line} \"${readme}\"\n${block}")
    if(before MATCHES "<!-- wrap: coroutine -->[ \n]*$")
      set(source "aio::task<> snippet() {\n${source}co_return;\n}\n")
    endif()
    file(WRITE "${name}.snippet.cpp" "#include \"prelude.hpp\"\n${source}")
  elseif(language STREQUAL "text" AND program AND before MATCHES "^[ \n]*$")
    file(WRITE "${program}.text" "${block}")
  elseif(language MATCHES "^(cmake|sh)$")
    file(WRITE "${name}.${language}" "${block}")
  elseif(NOT language MATCHES "^(text|python|console)$")
    message(FATAL_ERROR "${readme}:${line}: no check knows what to do with a block of \"${language}\"")
  endif()
  if(NOT language STREQUAL "cpp")
    set(program "")
  endif()

  string(REGEX MATCHALL "\n" newlines "${block}")
  list(LENGTH newlines count)
  math(EXPR line "${line} + ${count}")  # the closing fence
  string(FIND "${rest}" "\n```" begin)
endwhile()

# Keep the times of what did not change, so that it is not compiled again.
file(GLOB old RELATIVE "${blocks}" "${blocks}/*")
file(GLOB new RELATIVE "${blocks}.new" "${blocks}.new/*")
foreach(file IN LISTS old)
  if(NOT file IN_LIST new)
    file(REMOVE "${blocks}/${file}")
  endif()
endforeach()
file(MAKE_DIRECTORY "${blocks}")
foreach(file IN LISTS new)
  file(COPY_FILE "${blocks}.new/${file}" "${blocks}/${file}" ONLY_IF_DIFFERENT)
endforeach()
file(REMOVE_RECURSE "${blocks}.new")
