// SPDX-License-Identifier: MIT

// Compiled with another version of aio than older.cpp
#include "version.hpp"

#if AIO_VERSION_MINOR != 99
#error this is not the other version
#endif

std::string by_newer(std::function<std::string()> const& inside) { return AIO_ABI::exercised(inside); }
