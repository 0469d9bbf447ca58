# SPDX-License-Identifier: MIT

# The headers of include/aio by layer, bottom first; a number opens a layer. A header includes only headers of lower
# layers, and each header stands in exactly one: tests/layers.cmake holds the tree to this list.
set(AIO_LAYERS
  0 config.hpp
  1 aio.hpp
)

set(AIO_HEADERS ${AIO_LAYERS})
list(FILTER AIO_HEADERS EXCLUDE REGEX "^[0-9]+$")
list(TRANSFORM AIO_HEADERS PREPEND include/aio/)
