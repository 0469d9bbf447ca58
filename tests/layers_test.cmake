# SPDX-License-Identifier: MIT

# cmake -P layers_test.cmake
# Runs layers.cmake over a tree with one mistake of each kind, and over a sound one.

cmake_minimum_required(VERSION 3.25...3.31)

string(RANDOM name)
set(tree "$ENV{TMPDIR}")
if(NOT tree)
  set(tree /tmp)
endif()
string(APPEND tree "/aio-layers-${name}")

function(run_layers result output)
  execute_process(
    COMMAND ${CMAKE_COMMAND} -D layers=${tree}/layers.cmake -D include=${tree}/include
      -P "${CMAKE_CURRENT_FUNCTION_LIST_DIR}/layers.cmake"
    RESULT_VARIABLE code OUTPUT_VARIABLE text ERROR_VARIABLE text)
  set(${result} ${code} PARENT_SCOPE)
  set(${output} "${text}" PARENT_SCOPE)
endfunction()

file(WRITE ${tree}/include/aio/config.hpp "#include <cassert>\n")
set(push "\n#pragma GCC visibility push(default)\n")
set(pop "\n#pragma GCC visibility pop\n")
file(WRITE ${tree}/include/aio/low.hpp "#include \"aio/config.hpp\"\n#include <vector>\n${push}\nnamespace aio {}\n${pop}")
file(WRITE ${tree}/include/aio/detail/mid.hpp "#include \"aio/config.hpp\"\n#include \"aio/low.hpp\"\n")
file(WRITE ${tree}/layers.cmake "set(AIO_LAYERS 0 config.hpp 1 low.hpp 2 detail/mid.hpp)\n")
run_layers(sound sound_output)

file(WRITE ${tree}/include/aio/low.hpp "  #  include <aio/detail/mid.hpp>  // upwards\n")
file(WRITE ${tree}/include/aio/twin.hpp "#include \"aio/detail/mid.hpp\"\n#include \"aio/nowhere.hpp\"\n#include \"low.hpp\"\n")
file(WRITE ${tree}/include/aio/stray.hpp "")
file(WRITE ${tree}/include/aio/hidden.hpp "#include <vector>\n\nnamespace aio {}\n")
file(WRITE ${tree}/include/aio/open.hpp "#include <vector>\n${push}\nnamespace aio {}\n")
file(WRITE ${tree}/include/aio/late.hpp "\nnamespace aio {}\n${push}${pop}")
file(WRITE ${tree}/include/aio/wide.hpp "${push}\n#include <vector>\nnamespace aio {}\n${pop}")
file(WRITE ${tree}/layers.cmake 
  "set(AIO_LAYERS 0 low.hpp config.hpp 1 detail/mid.hpp twin.hpp gone.hpp hidden.hpp open.hpp late.hpp wide.hpp 2 low.hpp)\n")
run_layers(bad bad_output)
file(REMOVE_RECURSE ${tree})

if(NOT sound EQUAL 0)
  message("${sound_output}")
  message(SEND_ERROR "a sound tree is refused")
endif()
if(bad EQUAL 0)
  message(SEND_ERROR "a tree with mistakes is accepted")
endif()
foreach(sentence IN ITEMS
    "low.hpp (layer 0) includes detail/mid.hpp (layer 1)"
    "twin.hpp (layer 1) includes detail/mid.hpp (layer 1)"
    "twin.hpp (layer 1) includes nowhere.hpp, which is in no layer"
    "twin.hpp includes \"low.hpp\""
    "twin.hpp does not include aio/config.hpp first"
    "stray.hpp is in no layer"
    "hidden.hpp does not declare its names between"
    "open.hpp does not declare its names between"
    "late.hpp: #pragma GCC visibility push(default) belongs behind the includes"
    "wide.hpp: #pragma GCC visibility push(default) belongs behind the includes"
    "gone.hpp (layer 1) does not exist"
    "low.hpp is in layer 0 and in layer 2")
  string(FIND "${bad_output}" "${sentence}" at)
  if(at EQUAL -1)
    message("not reported: ${sentence}\nbut:\n${bad_output}")
    message(SEND_ERROR "layers.cmake misses a mistake")
  endif()
endforeach()
