// error: .
#include <aio/aio.hpp>

int main() {}
