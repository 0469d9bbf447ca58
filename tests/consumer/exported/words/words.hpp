// SPDX-License-Identifier: MIT
#pragma once

// A library upon aio: how often a word occurs in what comes from a queue.

#include "words_export.h"

#include <aio/queue.hpp>
#include <aio/task.hpp>

#include <memory>
#include <string>

namespace words {

using source = std::shared_ptr<aio::queue<std::string>>;

/// Until the source is shut down. Throws: aio::timeout_error if nothing comes for a second.
WORDS_EXPORT aio::task<int> count(source from, std::string word);

}  // namespace words
