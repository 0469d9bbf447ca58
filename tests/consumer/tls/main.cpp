// SPDX-License-Identifier: MIT
#include <aio/aio.hpp>
#include <aio/tls.hpp>

aio::task<> trust() {
  auto context = aio::tls_context::client();
  context.alpn({"h2"});
  co_return;
}

int main() { aio::run(trust()); }
