// SPDX-License-Identifier: MIT
// No #pragma once: a pair with keywords_back.hpp, around each use of Asio's and aio's names that Qt makes macros of
// where QT_NO_KEYWORDS is not defined.
#pragma push_macro("emit")
#pragma push_macro("signals")
#pragma push_macro("slots")
#undef emit
#undef signals
#undef slots
