# SPDX-License-Identifier: MIT
#
# A project of your own, begun with one of aio's examples:
#
#   cmake -P cmake/new_project.cmake NAME [TEMPLATE]     makes the folder NAME here; TEMPLATE is hello unless you say
#   cmake -P cmake/new_project.cmake                     lists the templates
#
# It builds at once, debug with sanitizers:
#
#   cd NAME && cmake --preset debug && cmake --build --preset debug && build/debug/NAME
#
# It takes the aio that the script belongs to, a checkout or an installed one, as long as that is there: local.cmake
# says so, for this machine alone. Elsewhere it takes an installed aio, or downloads it.
cmake_minimum_required(VERSION 3.25)

function(find_templates)
  set(examples "${CMAKE_CURRENT_FUNCTION_LIST_DIR}/../examples")
  if(NOT IS_DIRECTORY "${examples}")
    set(examples "${CMAKE_CURRENT_FUNCTION_LIST_DIR}/examples")  # installed
  endif()
  file(GLOB mains RELATIVE "${examples}" "${examples}/*/main.cpp")
  list(TRANSFORM mains REPLACE "/main.cpp$" "")
  set(examples "${examples}" PARENT_SCOPE)
  set(templates "${mains}" PARENT_SCOPE)
endfunction()

# The first sentence of an example, which says what it is.
function(describe template into)
  file(STRINGS "${examples}/${template}/main.cpp" lines LIMIT_COUNT 8)
  set(text "")
  foreach(line IN LISTS lines)
    if(NOT line MATCHES "SPDX" AND line MATCHES "^//( (.*))?$")
      if(NOT CMAKE_MATCH_2)
        break()
      endif()
      string(APPEND text " ${CMAKE_MATCH_2}")
    endif()
  endforeach()
  string(REGEX MATCH "^ [^.:]*" text "${text}")
  string(STRIP "${text}" text)
  set(${into} "${text}" PARENT_SCOPE)
endfunction()

function(stop)
  string(JOIN "" text ${ARGV})
  message(FATAL_ERROR "${text}")
endfunction()

# The example's own, under another name and with what a project of one's own has beside.
function(write_cmake_lists template name folder)
  file(READ "${examples}/${template}/CMakeLists.txt" text)
  string(REGEX REPLACE "^# SPDX[^\n]*\n" "" text "${text}")
  string(REGEX REPLACE "set_target_properties\\([^\n]* OUTPUT_NAME [^\n]*\n" "" text "${text}")
  string(REPLACE "aio.example.${template}" "${name}" text "${text}")
  string(REGEX REPLACE "if\\(NOT TARGET aio::[a-z]+\\)  # built alone[^\n]*\n(.*)\nendif\\(\\)\n\n"
    "include(local.cmake OPTIONAL)  # where aio is on this machine\n\\1\n\n" text "${text}")
  string(REPLACE "\n  find_package" "\nfind_package" text "${text}")
  string(REPLACE "\n  include(" "\n# An installed aio, else a download\ninclude(" text "${text}")
  string(REPLACE "\n  Fetch" "\nFetch" text "${text}")
  if(text MATCHES "aio\\.example|NOT TARGET|OUTPUT_NAME" OR NOT text MATCHES "local\\.cmake")
    stop("examples/" ${template} "/CMakeLists.txt is not like the others")
  endif()
  file(WRITE "${folder}/CMakeLists.txt" "${text}")
endfunction()

function(write_local folder)
  get_filename_component(root "${CMAKE_CURRENT_FUNCTION_LIST_DIR}/.." REALPATH)
  if(EXISTS "${root}/include/aio/aio.hpp" AND EXISTS "${root}/CMakeLists.txt")
    file(WRITE "${folder}/local.cmake" "set(FETCHCONTENT_SOURCE_DIR_AIO [[${root}]])\n")
  else()
    get_filename_component(prefix "${root}/.." REALPATH)  # of share/aio
    file(WRITE "${folder}/local.cmake" "list(APPEND CMAKE_PREFIX_PATH [[${prefix}]])\n")
  endif()
endfunction()

function(write_presets folder)
  file(WRITE "${folder}/CMakePresets.json" [[
{
  "version": 6,
  "configurePresets": [
    {
      "name": "debug",
      "displayName": "Assertions, and sanitizers that find what is used when it is gone",
      "binaryDir": "${sourceDir}/build/debug",
      "cacheVariables": {
        "CMAKE_BUILD_TYPE": "Debug",
        "CMAKE_CXX_FLAGS": "-Wall -Wextra -fsanitize=address,undefined -fno-omit-frame-pointer"
      }
    },
    {
      "name": "release",
      "binaryDir": "${sourceDir}/build/release",
      "cacheVariables": {"CMAKE_BUILD_TYPE": "RelWithDebInfo"}
    }
  ],
  "buildPresets": [
    {"name": "debug", "configurePreset": "debug"},
    {"name": "release", "configurePreset": "release"}
  ]
}
]])
  file(WRITE "${folder}/.gitignore" "/build/\n/local.cmake\n/CMakeUserPresets.json\n")
endfunction()

function(main)
  set(given "")
  set(behind OFF)
  math(EXPR last "${CMAKE_ARGC} - 1")
  foreach(n RANGE ${last})
    if(behind)
      list(APPEND given "${CMAKE_ARGV${n}}")
    elseif(CMAKE_ARGV${n} STREQUAL "-P")
      math(EXPR script "${n} + 1")
    elseif(DEFINED script AND n EQUAL script)
      set(behind ON)
    endif()
  endforeach()
  list(LENGTH given count)
  find_templates()
  if(count EQUAL 0)
    message("cmake -P new_project.cmake NAME [TEMPLATE]. The templates:\n")
    foreach(each IN LISTS templates)
      describe(${each} text)
      message("  ${each}: ${text}")
    endforeach()
    return()
  endif()

  list(GET given 0 name)
  set(template hello)
  if(count GREATER 1)
    list(GET given 1 template)
  endif()
  if(count GREATER 2)
    stop("a name and a template, no more")
  elseif(NOT name MATCHES "^[A-Za-z][A-Za-z0-9_.-]*$" OR name MATCHES "^(all|test|install|clean|help|package|ALL_BUILD)$")
    stop("a name has letters, digits, _ . and -, begins with a letter, and is no target of CMake's own: '" "${name}" "'")
  elseif(NOT template IN_LIST templates)
    list(JOIN templates ", " all)
    stop("there is no template '" "${template}" "', but " "${all}")
  endif()
  get_filename_component(folder "${name}" ABSOLUTE BASE_DIR "${CMAKE_CURRENT_BINARY_DIR}")
  if(EXISTS "${folder}")
    stop("${folder}" " is there already")
  endif()

  file(GLOB sources "${examples}/${template}/*.cpp" "${examples}/${template}/*.hpp")
  file(COPY ${sources} DESTINATION "${folder}")
  write_cmake_lists(${template} ${name} "${folder}")
  write_presets("${folder}")
  write_local("${folder}")
  message("${name} is made of the example ${template}. Now:\n\n"
    "  cd ${name} && cmake --preset debug && cmake --build --preset debug && build/debug/${name}\n")
endfunction()

main()
