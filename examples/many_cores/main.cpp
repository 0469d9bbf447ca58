// SPDX-License-Identifier: MIT

// Serves TCP on every core: one loop per core, each in a thread of its own and with an acceptor of its own for the same
// port, among which the system divides the connections (SO_REUSEPORT). A connection stays on the loop that accepted it,
// so that nothing of it needs a lock.
//
//   many_cores 8080        serves until Ctrl-C: every line that comes is sent back
//   many_cores             shows it: serves on a free port, and asks itself a thousand times

#include <aio/aio.hpp>

#include <asio/buffer.hpp>
#include <asio/ip/tcp.hpp>
#include <asio/read_until.hpp>
#include <asio/write.hpp>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <exception>
#include <iostream>
#include <memory>
#include <numeric>
#include <string>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

using asio::ip::tcp;

// Where several acceptors may share a port. Elsewhere (Windows) one loop accepts for all.
#if defined(SO_REUSEPORT)
constexpr bool every_loop_accepts = true;

struct reuse_port {  // an option of a socket, as Asio wants them
  int on = 1;
  int level(tcp const&) const { return SOL_SOCKET; }
  int name(tcp const&) const { return SO_REUSEPORT; }
  int const* data(tcp const&) const { return &on; }
  std::size_t size(tcp const&) const { return sizeof on; }
};
#else
constexpr bool every_loop_accepts = false;
#endif

tcp::acceptor listen_at(asio::io_context& context, tcp::endpoint where) {
  tcp::acceptor acceptor(context);
  acceptor.open(where.protocol());
  acceptor.set_option(tcp::acceptor::reuse_address(true));
#if defined(SO_REUSEPORT)
  acceptor.set_option(reuse_port());
#endif
  acceptor.bind(where);
  acceptor.listen();
  return acceptor;
}

aio::task<> echo(tcp::socket peer) {
  std::string line;
  try {
    for (;;) {
      std::size_t const length = co_await asio::async_read_until(peer, asio::dynamic_buffer(line), '\n',
                                                                 aio::use_awaitable);
      co_await asio::async_write(peer, asio::buffer(line.data(), length), aio::use_awaitable);
      line.erase(0, length);
    }
  } catch (std::system_error const&) {  // it hung up
  }
}

// Runs on each loop until it is cancelled, and so do the connections that it serves.
aio::task<> serve(tcp::acceptor acceptor) {
  auto const accept_all = [&](aio::task_group& connections) -> aio::task<> {
    for (;;) connections.create_task(echo(co_await acceptor.async_accept(aio::use_awaitable)));
  };
  co_await aio::with_task_group(accept_all);
}

// Made on the thread of its loop, to which its acceptor belongs. Gives where it listens.
aio::task<tcp::endpoint> start_serving(tcp::endpoint where) {
  tcp::acceptor acceptor = listen_at(aio::get_running_loop().context(), where);
  tcp::endpoint const bound = acceptor.local_endpoint();
  (void)aio::create_task(serve(std::move(acceptor)));  // the end of the loop cancels it
  co_return bound;
}

// A server on all cores, from its construction to its destruction.
class server {
 public:
  explicit server(tcp::endpoint where) {
    unsigned const cores = std::max(1U, std::thread::hardware_concurrency());
    for (unsigned i = 0; i < (every_loop_accepts ? cores : 1U); ++i) {
      loops_.push_back(std::make_unique<aio::loop_thread>());
      where_ = loops_.back()->call(start_serving, i == 0 ? where : where_);
    }
  }
  [[nodiscard]] tcp::endpoint where() const { return where_; }
  [[nodiscard]] std::size_t loops() const { return loops_.size(); }

 private:
  std::vector<std::unique_ptr<aio::loop_thread>> loops_;
  tcp::endpoint where_;
};

aio::task<int> ask(tcp::endpoint where, int number) {
  tcp::socket socket(aio::get_running_loop().context());
  co_await socket.async_connect(where, aio::use_awaitable);
  std::string const question = "question " + std::to_string(number) + "\n";
  co_await asio::async_write(socket, asio::buffer(question), aio::use_awaitable);
  std::string answer;
  co_await asio::async_read_until(socket, asio::dynamic_buffer(answer), '\n', aio::use_awaitable);
  co_return answer == question ? 1 : 0;
}

aio::task<> ask_often(tcp::endpoint where) {
  constexpr int questions = 1000;
  aio::semaphore at_once(50);
  auto const one = [&](int number) -> aio::task<int> {
    auto const permit = co_await at_once.acquire();
    co_return co_await ask(where, number);
  };
  std::vector<aio::task<int>> all;
  for (int i = 0; i < questions; ++i) all.push_back(one(i));
  std::vector<int> const answers = co_await aio::gather(std::move(all));
  std::cout << std::accumulate(answers.begin(), answers.end(), 0) << " of " << questions << " answers are right\n";
}

aio::task<> until_interrupted() {
  for (;;) co_await aio::sleep_for(std::chrono::hours(1));
}

int main(int argc, char** argv) try {
  auto const loopback = asio::ip::address_v4::loopback();
  if (argc > 1) {
    server const all({asio::ip::address_v4::any(), static_cast<std::uint16_t>(std::stoi(argv[1]))});
    std::cout << "serving port " << all.where().port() << " on " << all.loops() << " loops" << std::endl;
    aio::run(aio::run_options().signals(aio::on_signal::raise), until_interrupted());
  } else {
    server const all({loopback, 0});
    aio::run(ask_often(all.where()));
  }
} catch (aio::interrupted const&) {  // the server has ended: its loops have, with all that they ran
  std::cout << "interrupted\n";
} catch (std::exception const& error) {
  std::cerr << "many_cores: " << error.what() << '\n';
  return EXIT_FAILURE;
}
