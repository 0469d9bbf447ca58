// error: this sentence is in no message
#include <aio/aio.hpp>

static_assert(sizeof(char) == 2, "some other sentence");
