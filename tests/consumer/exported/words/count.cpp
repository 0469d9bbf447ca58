// SPDX-License-Identifier: MIT
#include "words.hpp"

#include <aio/run.hpp>

#include <iostream>

// count WORD: how often it is on standard input
aio::task<> count(std::string word) {
  auto const from = std::make_shared<aio::queue<std::string>>();
  for (std::string read; std::cin >> read;) from->put_nowait(read);
  from->shutdown();
  std::cout << co_await words::count(from, word) << '\n';
}

int main(int argc, char** argv) {
  if (argc != 2) return 2;
  aio::run(count(argv[1]));
}
