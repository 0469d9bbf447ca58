// SPDX-License-Identifier: MIT
// No #pragma once: see keywords_off.hpp.
#if defined(__clang__)  // which warns where this is compiled alone
#pragma clang diagnostic push
#pragma clang diagnostic ignored "-Wignored-pragmas"
#endif
#pragma pop_macro("emit")
#pragma pop_macro("signals")
#pragma pop_macro("slots")
#if defined(__clang__)
#pragma clang diagnostic pop
#endif
