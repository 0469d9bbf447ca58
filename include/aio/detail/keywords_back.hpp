// SPDX-License-Identifier: MIT
// No #pragma once: see keywords_off.hpp.
#pragma pop_macro("emit")
#pragma pop_macro("signals")
#pragma pop_macro("slots")
