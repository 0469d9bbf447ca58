// SPDX-License-Identifier: MIT

// Many connections and processes at once, and what is left of them, for scale.py.
//
//   scale connections N         N that are open at once, and each is used
//   scale cancelled N SEED      N calls of open_connection() that are cancelled, early, late, or too late
//   scale processes N AT_ONCE   N that are talked to, killed, or let go
//   scale resets N              a server whose clients reset, N in each state that a connection can be in
//   scale slow N                N clients that send byte by byte
//   scale deaf N                N that never read, neither what is sent without an end nor the echo of what they send
//
// Each does all of it twice on one loop, the first time to warm up, and counts descriptors, threads and memory before,
// at the peak and after. Descriptors and threads are compared with the start. Memory is compared with that after the
// first time, for Asio's reactor keeps some 180 bytes for each descriptor that it ever had at once, as long as its loop
// is there; and when the loop is gone, with that before the loop was made.

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iostream>
#include <iterator>
#include <random>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include <netinet/in.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>
#if defined(__GLIBC__)
#include <malloc.h>
#endif

#include "aio/aio.hpp"

namespace {

using namespace std::chrono_literals;
using steady = std::chrono::steady_clock;

// How many bytes may be left: of what malloc() gave out, after a round and after the loop, and in a loop's pool of
// frames; and of what the system gave, which keeps a page while something on it is in use.
constexpr std::ptrdiff_t round_bound = 16 * 1024;
constexpr std::ptrdiff_t loop_bound = 64 * 1024;
constexpr std::ptrdiff_t pool_bound = 1024 * 1024;
constexpr std::ptrdiff_t resident_bound = 4 * 1024 * 1024;

// Sanitizers keep what is freed.
#if defined(__SANITIZE_THREAD__)
constexpr bool sees_memory = false;
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
constexpr bool sees_memory = false;
#else
constexpr bool sees_memory = !AIO_ADDRESS_SANITIZER;
#endif
#else
constexpr bool sees_memory = !AIO_ADDRESS_SANITIZER;
#endif

bool all_hold = true;

void check(std::string const& sentence, bool holds, std::string const& detail = "") {
  all_hold = all_hold && holds;
  std::cout << (holds ? "ok: " : "FAILED: ") << sentence << (detail.empty() ? "" : " (" + detail + ")") << std::endl;
}

std::string kib(std::ptrdiff_t bytes) { return std::to_string(bytes / 1024) + " KiB"; }

/// What this process has.
struct account {
  std::ptrdiff_t descriptors = 0;
  std::ptrdiff_t threads = 0;
  std::ptrdiff_t in_use = 0;    // bytes
  std::ptrdiff_t resident = 0;  // bytes
  std::ptrdiff_t pooled = 0;    // bytes in use that the pool of frames kept, and gave back for settled()
  bool children = false;        // whether there are processes that were not reaped

  static std::ptrdiff_t entries(char const* folder) {
    return std::distance(std::filesystem::directory_iterator(folder), std::filesystem::directory_iterator());
  }
  static account take() {
    account taken;
    taken.descriptors = entries("/proc/self/fd") - 1;  // without the one that looks
    taken.threads = entries("/proc/self/task");
#if defined(__GLIBC__)
    (void)::malloc_trim(0);
#if __GLIBC_PREREQ(2, 33)
    auto const all = ::mallinfo2();
    taken.in_use = static_cast<std::ptrdiff_t>(all.uordblks + all.hblkhd);
#endif
#endif
    std::ptrdiff_t size = 0;
    std::ifstream("/proc/self/statm") >> size >> taken.resident;
    taken.resident *= ::sysconf(_SC_PAGESIZE);
    siginfo_t child{};
    taken.children = ::waitid(P_ALL, 0, &child, WEXITED | WNOHANG | WNOWAIT) == 0;
    return taken;
  }
  void print(std::string const& when) const {
    std::cout << "  " << when << ": " << descriptors << " descriptors, " << threads << " threads, " << kib(in_use)
              << " in use, " << kib(resident) << " resident" << std::endl;
  }
};

/// The errors that nobody received, which is none in all that is done here.
std::vector<std::string> unheard;

/// Waits for what goes on in the background, and takes the account. Threads that looked up names end after 5 s.
aio::task<account> settled(account before, bool threads_too) {
  account now = account::take();
  for (auto const end = steady::now() + 20s; steady::now() < end; now = account::take()) {
    bool const threads = !threads_too || now.threads <= before.threads;
    if (threads && now.descriptors <= before.descriptors && !now.children) break;
    co_await aio::sleep_for(20ms);
  }
  // A loop that has had nothing to do for a moment gives back what its pool keeps. What it leaves alone goes by hand,
  // so that the bound can be small.
  for (int n = 0; n < 3; ++n) co_await aio::sleep_for(50ms);
  account const with_pool = account::take();
  aio::detail::frame_pool::trim();
  now = account::take();
  now.pooled = with_pool.in_use - now.in_use;
  co_return now;
}

/// Does it twice, and looks at what is left. A round takes the account of its peak.
template <class Round>
void twice(std::string const& name, Round& round) {
  account const outside = account::take();
  account before, peak, warm, after;
  auto const both = [&]() -> aio::task<> {
    before = account::take();
    co_await round(peak);
    warm = co_await settled(before, false);
    co_await round(peak);
    after = co_await settled(before, true);
  };
  auto const hear = [](aio::exception_context const& of) { unheard.push_back(of.message); };
  auto const began = steady::now();
  aio::run(aio::run_options().exception_handler(hear), both);
  auto const took = std::chrono::duration_cast<std::chrono::milliseconds>(steady::now() - began);
  account const ended = account::take();

  outside.print("outside of the loop");
  before.print("before");
  peak.print("at the peak");
  warm.print("after the first round");
  after.print("after the second round");
  ended.print("outside again");
  std::cout << "  in " << took.count() << " ms" << std::endl;
  auto const of = [](std::ptrdiff_t now, std::ptrdiff_t then) {
    return std::to_string(now) + " of " + std::to_string(then);
  };
  check(name + ": descriptors are back",
        after.descriptors == before.descriptors && ended.descriptors == outside.descriptors,
        of(after.descriptors, before.descriptors) + ", " + of(ended.descriptors, outside.descriptors));
  check(name + ": threads are back", after.threads == before.threads && ended.threads == outside.threads,
        of(after.threads, before.threads) + ", " + of(ended.threads, outside.threads));
  check(name + ": no process is left, nor a zombie", !warm.children && !after.children && !ended.children);
  check(name + ": no error is left that nobody received", unheard.empty(),
        unheard.empty() ? "" : std::to_string(unheard.size()) + ", " + unheard.front());
  if (!sees_memory) return;
  check(name + ": memory in use is back, but for " + kib(round_bound), after.in_use - warm.in_use <= round_bound,
        std::to_string(after.in_use - warm.in_use) + " bytes more than after the first round");
  check(name + ": memory in use is back when the loop is gone, but for " + kib(loop_bound),
        ended.in_use - outside.in_use <= loop_bound,
        std::to_string(ended.in_use - outside.in_use) + " bytes more than before it");
  check(name + ": the pool gave its memory back, but for " + kib(pool_bound), after.pooled <= pool_bound,
        std::to_string(after.pooled) + " bytes kept");
  check(name + ": resident memory is back, but for " + kib(resident_bound),
        after.resident - warm.resident <= resident_bound,
        kib(after.resident - warm.resident) + " more than after the first round");
}

/// fn(0), ..., fn(count - 1), so many at once.
template <class Fn>
aio::task<> for_each(std::size_t count, std::size_t at_once, Fn const& fn) {
  std::size_t next = 0;
  auto const worker = [&]() -> aio::task<> {
    while (next < count) {
      std::size_t const mine = next++;
      co_await fn(mine);
    }
  };
  co_await aio::with_task_group([&](aio::task_group& group) -> aio::task<> {
    for (std::size_t n = 0; n < std::min(count, at_once); ++n) group.create_task(worker());
    co_return;
  });
}

aio::task<> echo(aio::stream_reader reader, aio::stream_writer writer) {
  while (auto line = co_await reader.next_line()) {
    writer.write(std::string(*line) + "\n");
    co_await writer.drain();
  }
}

/// Says a line, and whether it came back.
aio::task<bool> answered(aio::stream_reader& reader, aio::stream_writer& writer, std::string line) {
  writer.write(line + "\n");
  co_await writer.drain();
  auto const answer = co_await reader.next_line();
  co_return answer && *answer == line;
}

/// So little does the system keep of what a server sends, so that the rest is the server's.
void keep_little(aio::stream_writer const& writer) {
  int const bytes = 64 * 1024;
  (void)::setsockopt(writer.native_handle(), SOL_SOCKET, SO_SNDBUF, &bytes, sizeof bytes);
}

/// A client as any other, beside those that are not.
class neighbour {
 public:
  aio::task<> talk(std::uint16_t port) {
    auto [reader, writer] = co_await aio::open_connection("127.0.0.1", port);
    while (!enough_) {
      auto const began = steady::now();
      bool const right = co_await answered(reader, writer, "echo " + std::to_string(answers_));
      if (!right) co_return;
      ++answers_;
      longest_ = std::max(longest_, steady::now() - began);
      co_await aio::sleep_for(1ms);
    }
    undisturbed_ = true;
    writer.close();
    co_await writer.wait_closed();
  }
  void enough() noexcept { enough_ = true; }
  void judge(std::string const& name) const {
    auto const longest = std::chrono::duration_cast<std::chrono::milliseconds>(longest_);
    check(name + ": somebody else is answered all the while, within 5 s",
          undisturbed_ && answers_ >= 10 && longest_ < 5s,
          std::to_string(answers_) + " answers, the slowest after " + std::to_string(longest.count()) + " ms");
  }

 private:
  std::size_t answers_ = 0;
  steady::duration longest_{};
  bool enough_ = false;
  bool undisturbed_ = false;
};

/// Runs the load beside a neighbour.
template <class Load>
aio::task<> beside_a_neighbour(std::string name, std::uint16_t port, Load const& load) {
  neighbour other;
  auto talking = aio::create_task(other.talk(port));
  auto const outcome = co_await aio::as_result(load());
  for (int n = 0; n < 20; ++n) co_await aio::sleep_for(1ms);
  other.enough();
  co_await talking;
  other.judge(name);
  outcome.value();
}

// ---- connections

/// Many clients, in phases.
class crowd {
 public:
  crowd(std::size_t count, std::vector<std::pair<std::string, std::uint16_t>> to) : count_(count), to_(std::move(to)) {}

  aio::task<> arrive() {
    ends_.reserve(count_);
    auto const one = [this](std::size_t index) -> aio::task<> {
      auto const& [host, port] = to_[index % to_.size()];
      auto made = co_await aio::open_connection(host, port);
      bool const right = co_await answered(made.reader, made.writer, "hello " + std::to_string(index));
      answers_ += right;
      ends_.push_back(std::move(made));
    };
    co_await for_each(count_, 64, one);
  }
  aio::task<> talk() {
    auto const one = [this](std::size_t index) -> aio::task<> {
      auto& [reader, writer] = ends_.at(index);
      bool const right = co_await answered(reader, writer, "still here " + std::to_string(index));
      answers_ += right;
    };
    co_await for_each(count_, 64, one);
  }
  /// One by one, or by the loss of their ends.
  aio::task<> leave() {
    auto const one = [this](std::size_t index) -> aio::task<> {
      auto& [reader, writer] = ends_.at(index);
      writer.close();
      co_await writer.wait_closed();
    };
    co_await for_each(count_ / 2, 64, one);
    std::vector<aio::stream_pair>().swap(ends_);
  }
  std::size_t answers() const noexcept { return answers_; }

 private:
  std::size_t count_;
  std::vector<std::pair<std::string, std::uint16_t>> to_;
  std::vector<aio::stream_pair> ends_;
  std::size_t answers_ = 0;
};

/// The clients in a process of their own: where one has not descriptors enough for both ends.
void clients(std::size_t count, std::vector<std::string> const& to) {
  std::vector<std::pair<std::string, std::uint16_t>> addresses;
  for (std::size_t n = 0; n + 1 < to.size(); n += 2) {
    addresses.emplace_back(to[n], static_cast<std::uint16_t>(std::stoul(to[n + 1])));
  }
  auto const main = [&]() -> aio::task<> {
    account const before = account::take();
    {
      crowd all(count, addresses);
      std::string word;
      co_await all.arrive();
      std::cout << "arrived" << std::endl;
      std::getline(std::cin, word);
      co_await all.talk();
      std::cout << "talked" << std::endl;
      std::getline(std::cin, word);
      co_await all.leave();
      if (all.answers() != 2 * count) throw std::runtime_error("answers are missing");
    }
    account const after = co_await settled(before, true);
    if (after.descriptors != before.descriptors) throw std::runtime_error("descriptors of clients are left");
    if (after.threads != before.threads) throw std::runtime_error("threads of clients are left");
    std::cout << "left" << std::endl;
  };
  aio::run(main);
}

rlim_t descriptor_limit() {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) throw aio::system_error(errno, aio::generic_category(), "getrlimit");
  return limit.rlim_cur;
}

void connections(std::size_t count) {
  // A client's port is taken for a minute after its connection, and there are some 28,000 for each address.
  std::size_t const addresses = 1 + count / 2000;
  bool const together = 2 * count + 100 < descriptor_limit();
  if (!together) std::cout << "  the clients are in another process, for want of descriptors" << std::endl;
  auto const round = [&](account& peak) -> aio::task<> {
    std::vector<std::string> hosts;
    for (std::size_t n = 1; n <= addresses; ++n) hosts.push_back("127.0.0." + std::to_string(n));
    account const before = account::take();
    auto server = co_await aio::start_server(echo, hosts, 0, aio::server_options().backlog(4096));
    std::vector<std::pair<std::string, std::uint16_t>> to;
    for (auto const& each : server.sockets()) to.emplace_back(each.host(), each.port());

    if (together) {
      crowd all(count, to);
      co_await all.arrive();
      peak = account::take();
      co_await all.talk();
      check("connections: all are open at once",
            server.connections() == count && all.answers() == 2 * count &&
                peak.descriptors == before.descriptors + std::ptrdiff_t(2 * count + addresses),
            std::to_string(server.connections()));
      co_await all.leave();
    } else {
      std::vector<std::string> command{"/proc/self/exe", "clients", std::to_string(count)};
      for (auto const& [host, port] : to) command.insert(command.end(), {host, std::to_string(port)});
      auto const piped = aio::process_options().in(aio::stdio::pipe()).out(aio::stdio::pipe());
      auto others = co_await aio::create_subprocess_exec(piped, command);
      bool said = true;
      for (std::string_view const word : {"arrived", "talked", "left"}) {
        auto const line = co_await others.out().next_line();
        said = said && line && *line == word;
        if (word == "arrived") {
          peak = account::take();
          check("connections: all are open at once", server.connections() == count,
                std::to_string(server.connections()));
        }
        if (word == "left") break;
        others.in().write("go on\n");
        co_await others.in().drain();
      }
      int const status = co_await others.wait();
      check("connections: each is answered twice, and the clients have no descriptors or threads left",
            said && status == 0);
    }
    std::cout << "  " << (peak.in_use - before.in_use) / std::ptrdiff_t(count) << " bytes in use for each "
              << (together ? "connection, both ends" : "connection") << std::endl;
    server.close();
    co_await server.wait_closed();
  };
  twice("connections", round);
}

// ---- connects that are cancelled

/// Somebody who listens, and has no room for anybody: who connects waits.
class full_listener {
 public:
  full_listener() {
    sockaddr_in at{};
    at.sin_family = AF_INET;
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof(at);
    auto* const address = reinterpret_cast<sockaddr*>(&at);
    if (::bind(sockets_.front(), address, size) != 0 || ::listen(sockets_.front(), 0) != 0 ||
        ::getsockname(sockets_.front(), address, &size) != 0) {
      throw aio::system_error(errno, aio::generic_category(), "a listener");
    }
    port_ = ntohs(at.sin_port);
    for (std::size_t n = 1; n < sockets_.size(); ++n) (void)::connect(sockets_.at(n), address, size);
  }
  full_listener(full_listener const&) = delete;
  ~full_listener() {
    for (int const each : sockets_) (void)::close(each);
  }
  std::uint16_t port() const noexcept { return port_; }

 private:
  static int open() { return ::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0); }
  std::array<int, 4> sockets_{open(), open(), open(), open()};
  std::uint16_t port_ = 0;
};

void cancelled(std::size_t count, unsigned seed) {
  auto const round = [&](account& peak) -> aio::task<> {
    std::minstd_rand random(seed);
    full_listener const full;
    std::vector<std::string> const hosts{"127.0.0.1", "127.0.0.2", "127.0.0.3"};
    auto server = co_await aio::start_server(echo, hosts, 0, aio::server_options().backlog(4096));
    auto const at = server.sockets();
    std::size_t stopped = 0, connected = 0, refused = 0, wrong = 0, begun = 0;
    auto const one = [&](std::size_t) -> aio::task<> {
      auto const& to = at[random() % at.size()];
      auto const whom = random() % 8;
      std::string host = to.host();
      std::uint16_t port = to.port();
      if (whom < 2) {
        host = "127.0.0.1";
        port = full.port();
      } else if (whom == 2) {
        host = "localhost";  // a look-up, and perhaps two addresses at once
        port = at.front().port();
      } else if (whom == 3) {
        port = 1;  // nobody listens there
      }
      auto connecting = aio::create_task(aio::open_connection(host, port));
      auto const when = random() % 4;
      if (when == 1 || when == 2) {
        for (auto left = random() % 8; left > 0; --left) co_await aio::sleep_for(0s);
      } else if (when == 3) {
        co_await aio::sleep_for(std::chrono::microseconds(random() % 20000));
      }
      connecting.cancel();
      if (++begun == count / 2) peak = account::take();
      auto outcome = co_await aio::as_result(std::move(connecting));
      if (outcome.cancelled()) {
        ++stopped;
      } else if (!outcome.has_value()) {
        try {
          outcome.value();
        } catch (aio::connect_error const&) {
          ++refused;
        }
      } else {
        ++connected;
        auto [reader, writer] = std::move(outcome).value();
        if (port == full.port() || random() % 2 == 0) co_return;
        bool const right = co_await answered(reader, writer, "too late");
        if (!right) ++wrong;
      }
    };
    co_await for_each(count, 500, one);
    check("cancelled: each was cancelled, or was over before",
          stopped + connected + refused == count && wrong == 0 && stopped > 0,
          std::to_string(stopped) + " cancelled, " + std::to_string(connected) + " connected, " +
              std::to_string(refused) + " refused");
    server.close();
    co_await aio::wait_for(server.wait_closed(), 20s);
  };
  twice("cancelled", round);
}

// ---- processes

void processes(std::size_t count, std::size_t at_once) {
  auto const round = [&](account& peak) -> aio::task<> {
    std::size_t talked = 0, killed = 0, gone = 0, alive = 0, most = 0;
    auto const piped = aio::process_options().in(aio::stdio::pipe()).out(aio::stdio::pipe()).err(aio::stdio::pipe());
    auto const one = [&](std::size_t index) -> aio::task<> {
      auto started = co_await aio::create_subprocess_exec(piped, "cat");
      if (++alive > most) {
        most = alive;
        if (most == at_once) peak = account::take();
      }
      // Until so many are there at once; then as they come.
      for (int n = 0; n < 1000 && most < std::min(at_once, count); ++n) co_await aio::sleep_for(1ms);
      if (index % 10 == 8) {
        started.kill();
        int const status = co_await started.wait();
        killed += status == -SIGKILL;
      } else if (index % 10 == 9) {
        ++gone;  // with its object
      } else {
        auto const all = co_await started.communicate("hello " + std::to_string(index) + "\n");
        talked += all.returncode == 0 && all.out == "hello " + std::to_string(index) + "\n" && all.err.empty();
      }
      --alive;
    };
    auto const began = steady::now();
    co_await for_each(count, at_once, one);
    auto const took = std::chrono::duration<double>(steady::now() - began).count();
    std::cout << "  " << static_cast<int>(double(count) / took) << " processes a second" << std::endl;
    check("processes: each did as it was asked, so many at once",
          talked + killed + gone == count && most == std::min(at_once, count),
          std::to_string(talked) + " talked to, " + std::to_string(killed) + " killed, " + std::to_string(gone) +
              " let go, " + std::to_string(most) + " at once");
  };
  twice("processes", round);
}

// ---- clients that reset

/// What a handler is about when its client resets.
constexpr std::array<std::string_view, 9> states{"reading", "writing", "sending", "eof", "closing",
                                                 "waiting", "asleep", "leaving", "aborting"};

void resets(std::size_t count) {
  auto const round = [&](account& peak) -> aio::task<> {
    std::string const much(1 << 20, 'x');
    std::size_t begun = 0, errors = 0, ends = 0;
    auto const serve = [&](aio::stream_reader reader, aio::stream_writer writer) -> aio::task<> {
      keep_little(writer);
      try {
        while (auto line = co_await reader.next_line()) {
          std::string const state(*line);
          writer.write(state + "\n");
          co_await writer.drain();
          if (state.starts_with("echo")) continue;
          ++begun;
          if (state == "writing") {
            for (;;) {
              writer.write(std::string_view(much).substr(0, 100000));
              co_await writer.drain();
            }
          } else if (state == "sending") {
            for (;;) co_await writer.send(much);
          } else if (state == "closing") {
            writer.write(much);
            writer.close();
            co_await writer.wait_closed();
          } else if (state == "waiting") {
            co_await reader.wait_eof();
          } else if (state == "asleep") {
            co_await aio::sleep_for(50ms);
          } else if (state == "leaving") {
            writer.write(much);
            co_return;
          } else if (state == "aborting") {
            writer.write(much);
            writer.abort();
          }  // "reading", "eof"
        }
        ++ends;
      } catch (aio::system_error const&) {
        ++errors;
      } catch (aio::incomplete_read_error const&) {
        ++errors;
      }
    };
    auto server = co_await aio::start_server(serve, "127.0.0.1", 0, aio::server_options().backlog(4096));
    auto const port = server.sockets().front().port();
    std::size_t const all = (states.size() + 1) * count;
    auto const one = [&](std::size_t index) -> aio::task<> {
      auto [reader, writer] = co_await aio::open_connection("127.0.0.1", port);
      std::size_t const number = index % (states.size() + 1);
      if (number < states.size()) {  // else at once
        bool const right = co_await answered(reader, writer, std::string(states.at(number)));
        if (!right) throw std::runtime_error("not answered");
        if (states.at(number) == "reading") writer.write("half a li");
        if (states.at(number) == "eof") writer.write_eof();
        co_await aio::sleep_for(std::chrono::milliseconds(index % 7));
      }
      if (index == all / 2) peak = account::take();
      writer.abort();
    };
    auto const load = [&]() -> aio::task<> {
      co_await for_each(all, 100, one);
      for (int n = 0; n < 2000 && server.connections() > 1; ++n) co_await aio::sleep_for(10ms);
      check("resets: the server has only its neighbour left", server.connections() == 1,
            std::to_string(begun) + " begun, " + std::to_string(errors) + " errors, " + std::to_string(ends) + " ends");
      check("resets: each handler came as far as its client wanted", begun == states.size() * count);
    };
    co_await beside_a_neighbour("resets", port, load);
    server.close();
    co_await aio::wait_for(server.wait_closed(), 20s);
  };
  twice("resets", round);
}

// ---- clients that are slow

void slow(std::size_t count) {
  auto const round = [&](account& peak) -> aio::task<> {
    auto server = co_await aio::start_server(echo, "127.0.0.1", 0, aio::server_options().backlog(4096));
    auto const port = server.sockets().front().port();
    std::size_t right = 0, there = 0;
    auto const one = [&](std::size_t index) -> aio::task<> {
      auto [reader, writer] = co_await aio::open_connection("127.0.0.1", port);
      std::string const line = "byte by byte " + std::to_string(index) + "\n";
      for (char const each : line) {
        writer.write(std::string_view(&each, 1));
        co_await writer.drain();
        co_await aio::sleep_for(1ms);
      }
      if (there++ == 0) peak = account::take();
      std::string answer;
      for (char each = 0; answer.size() < line.size(); answer.push_back(each)) {
        auto const got = co_await reader.read_some(std::span<char>(&each, 1));
        if (got == 0) break;
      }
      right += answer == line;
    };
    auto const load = [&]() -> aio::task<> {
      co_await for_each(count, count, one);
      check("slow: each got its line back", right == count, std::to_string(right));
    };
    co_await beside_a_neighbour("slow", port, load);
    server.close();
    co_await aio::wait_for(server.wait_closed(), 20s);
  };
  twice("slow", round);
}

// ---- clients that never read

void deaf(std::size_t count) {
  // What is queued at both ends, and what the server has read: three buffers that have doubled to 128 KiB at most.
  constexpr std::ptrdiff_t bound = 3 * 128 * 1024;
  auto const round = [&](account& peak) -> aio::task<> {
    std::string const some = std::string(32 * 1024 - 1, 'x') + "\n";
    std::size_t sent = 0, errors = 0, stopped = 0;
    auto const serve = [&](aio::stream_reader reader, aio::stream_writer writer) -> aio::task<> {
      keep_little(writer);
      try {
        while (auto line = co_await reader.next_line()) {
          bool const endless = *line == "endless";
          writer.write(std::string(*line) + "\n");
          co_await writer.drain();
          while (endless) {
            writer.write(some);
            sent += some.size();
            co_await writer.drain();
          }
        }
      } catch (aio::system_error const&) {
        ++errors;
      } catch (aio::cancelled_error const&) {
        ++stopped;
        throw;
      }
    };
    account const before = account::take();
    auto server = co_await aio::start_server(serve, "127.0.0.1", 0,
                                             aio::server_options().backlog(4096).linger(300ms));
    auto const port = server.sockets().front().port();
    std::vector<aio::stream_pair> ends;
    ends.reserve(count);
    std::vector<aio::task_handle<>> floods;
    auto const flood = [&](std::size_t index) -> aio::task<> {
      for (;;) {
        ends[index].writer.write(some);
        sent += some.size();
        co_await ends[index].writer.drain();
      }
    };
    auto const one = [&](std::size_t number) -> aio::task<> {
      auto made = co_await aio::open_connection("127.0.0.1", port, aio::connect_options().linger(300ms));
      made.writer.write(number % 2 == 0 ? "endless\n" : "hello\n");
      co_await made.writer.drain();
      ends.push_back(std::move(made));
      if (number % 2 == 1) floods.push_back(aio::create_task(flood(ends.size() - 1)));
    };
    auto const load = [&]() -> aio::task<> {
      co_await for_each(count, 64, one);
      std::size_t quiet = 0, last = 0;
      for (int n = 0; n < 2000 && quiet < 20; ++n) {
        quiet = sent == last ? quiet + 1 : 0;
        last = sent;
        co_await aio::sleep_for(10ms);
      }
      peak = account::take();
      std::ptrdiff_t const each = (peak.in_use - before.in_use) / std::ptrdiff_t(count);
      check("deaf: what is kept for each is bounded by " + kib(bound), quiet == 20 && each <= bound,
            kib(each) + " of " + kib(std::ptrdiff_t(sent / count)) + " written");
      for (auto& flooding : floods) flooding.cancel();
      std::size_t stuck = 0;
      for (auto& flooding : floods) {
        auto const outcome = co_await aio::as_result(std::move(flooding));
        stuck += outcome.cancelled();
      }
      check("deaf: those who send wait, too", stuck == floods.size(), std::to_string(stuck));
      // A third goes with a reset, a third as who has not read all; the server ends the rest.
      std::size_t const third = count / 3;
      for (std::size_t n = 0; n < third; ++n) ends[n].writer.abort();
      for (std::size_t n = third; n < 2 * third; ++n) ends[n].writer.close();
      for (int n = 0; n < 2000 && errors < 2 * third; ++n) co_await aio::sleep_for(10ms);
      check("deaf: the server noticed who has gone", errors == 2 * third && server.connections() == count - errors + 1,
            std::to_string(errors) + " errors");
    };
    co_await beside_a_neighbour("deaf", port, load);
    auto const began = steady::now();
    co_await server.shutdown(100ms);
    for (int n = 0; n < 2000 && server.connections() > 0; ++n) co_await aio::sleep_for(10ms);
    auto const took = std::chrono::duration_cast<std::chrono::milliseconds>(steady::now() - began);
    check("deaf: the server ends though they do not read", server.connections() == 0 && stopped == count - errors,
          std::to_string(stopped) + " cancelled, after " + std::to_string(took.count()) + " ms");
    for (auto& each : ends) each.writer.abort();
  };
  twice("deaf", round);
}

}  // namespace

int main(int argc, char** argv) {
  std::vector<std::string> const words(argv + 1, argv + argc);
  auto const number = [&](std::size_t index) { return static_cast<std::size_t>(std::stoul(words.at(index))); };
  try {
    // What the system and sanitizers keep from the first thread on is there before the account.
    std::thread([] {}).join();
    std::string const& what = words.at(0);
    if (what == "connections") {
      connections(number(1));
    } else if (what == "clients") {
      clients(number(1), {words.begin() + 2, words.end()});
    } else if (what == "cancelled") {
      cancelled(number(1), static_cast<unsigned>(number(2)));
    } else if (what == "processes") {
      processes(number(1), number(2));
    } else if (what == "resets") {
      resets(number(1));
    } else if (what == "slow") {
      slow(number(1));
    } else if (what == "deaf") {
      deaf(number(1));
    } else {
      throw std::invalid_argument(what);
    }
  } catch (std::exception const& error) {
    std::cerr << "scale: " << error.what() << std::endl;
    return 1;
  }
  return all_hold ? 0 : 1;
}
