# SPDX-License-Identifier: MIT

# The target docs: the documentation as a site, in the folder site of the build.
find_package(Python3 QUIET COMPONENTS Interpreter)
if(Python3_Interpreter_FOUND)
  add_custom_target(docs
    COMMAND Python3::Interpreter "${PROJECT_SOURCE_DIR}/tools/site/build.py" "${PROJECT_BINARY_DIR}/site"
    COMMENT "The documentation as a site"
    VERBATIM)
endif()
