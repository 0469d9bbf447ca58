// SPDX-License-Identifier: MIT

// Prints the lines that are added to files, as `tail -F` does: a template for programs that follow logs.
//
//   tail_files [-a] file...     -a: the lines that are in them already, too
//
// With the name of the file before each line if there are several. A file that does not exist yet is waited for; one
// that becomes shorter is read from its beginning; where another one gets its name (the log was rotated), the old one
// is read to its end, and then that one. A line is printed when it is complete, and held in memory until then. Ctrl-C
// ends it.
//
// Files are looked at, at intervals that grow from 20 ms to 1 s while nothing is added: that works on every system and
// on every file system, which notifications of the system do not. What no one can see who looks: a file that was
// emptied and has become as long as before since the last look, and one that had its name for no longer than that.

#include <aio/aio.hpp>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <cstring>
#include <exception>
#include <iostream>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include <sys/stat.h>

using namespace std::chrono_literals;
using std::chrono::milliseconds;
using std::chrono::steady_clock;

constexpr milliseconds shortest_pause{20};
constexpr milliseconds longest_pause{1000};

// A file that was rotated is left when nothing was added for so long, at the latest after so long: who writes to it
// goes on for a moment until it hears of it.
constexpr milliseconds settled{200};
constexpr milliseconds latest{5000};

// The standard output, which all share.
class output {
 public:
  explicit output(bool with_names) : with_names_(with_names) {}
  ~output() { to_.close(); }  // what was written is sent before run() is over, if somebody reads it

  aio::task<> print(std::string const& name, std::string_view text) {
    try {
      if (with_names_) to_.write(name + ": ");
      to_.write(text);
      to_.write("\n");
    } catch (std::system_error const&) {
      lost_.set();
    }
    if (to_.write_buffer_size() >= 32 * 1024) co_await send();
  }
  // Who waits here, because nobody reads what is printed, does not read meanwhile.
  aio::task<> send() {
    try {
      co_await to_.drain();
    } catch (std::system_error const&) {
      lost_.set();
    }
  }
  // Until nobody will read any more, as in `tail_files log | head`.
  aio::task<> lost() { co_await lost_.wait(); }

 private:
  aio::stream_writer to_ = aio::open_stdout(aio::stream_options().linger(1s));
  bool with_names_;
  aio::event lost_;
};

// What has become of an open file, and of its name.
struct changes {
  bool longer = false;
  bool shorter = false;
  bool replaced = false;
};

// On a thread, for the disk may be slow.
changes look(std::string const& name, int descriptor, std::uint64_t position) {
  struct ::stat open;
  struct ::stat named;
  if (::fstat(descriptor, &open) != 0) throw std::system_error(errno, std::system_category(), name);
  changes found;
  auto const size = static_cast<std::uint64_t>(open.st_size);
  found.longer = size > position;
  found.shorter = size < position;
  // Where nobody has the name the file is followed until somebody has.
  if (::stat(name.c_str(), &named) == 0) found.replaced = named.st_dev != open.st_dev || named.st_ino != open.st_ino;
  return found;
}

// Until another file has the name.
aio::task<> follow_one(aio::file in, std::string const& name, output& out) {
  std::string half;  // a line whose end is not written yet
  auto pause = shortest_pause;
  std::optional<steady_clock::time_point> leave_by;
  for (;;) {
    changes const now = co_await aio::to_thread(look, name, in.native_handle(), in.tell());
    while (now.longer) {
      auto const before = in.tell();
      auto const line = co_await in.next_line();
      if (!line) break;
      half += *line;
      if (in.tell() - before == line->size()) continue;  // without "\n"
      co_await out.print(name, half);
      half.clear();
    }
    if (now.longer) co_await out.send();

    bool const over = leave_by && (!now.longer || steady_clock::now() >= *leave_by);
    if (now.shorter || over) {
      if (!half.empty()) co_await out.print(name, std::exchange(half, {}));
      if (over) co_return;
      in.seek(0);
      continue;
    }
    if (now.longer) pause = shortest_pause;
    if (now.replaced) {
      if (!leave_by) leave_by = steady_clock::now() + latest;
      pause = settled;
    }
    co_await aio::sleep_for(pause);
    pause = std::min(2 * pause, longest_pause);
  }
}

aio::task<> follow(std::string name, bool from_beginning, output& out) {
  std::string trouble;  // that was told of
  for (auto pause = shortest_pause;; pause = std::min(2 * pause, longest_pause)) {
    try {
      for (;;) {
        aio::file in = co_await aio::file::open(name);
        if (!std::exchange(from_beginning, true)) {
          auto const size = co_await in.size();
          in.seek(size);
        }
        co_await follow_one(std::move(in), name, out);
        pause = shortest_pause;
      }
    } catch (std::system_error const& error) {  // it is not there, or cannot be read; perhaps later
      from_beginning = true;
      if (std::exchange(trouble, error.what()) != trouble) std::cerr << "tail_files: " << trouble << std::endl;
    }
    co_await aio::sleep_for(pause);
  }
}

aio::task<> async_main(std::vector<std::string> names, bool from_beginning) {
  output out(names.size() > 1);
  std::vector<aio::task<>> all;
  for (std::string const& each : names) all.push_back(follow(each, from_beginning, out));
  co_await aio::race(aio::gather(std::move(all)), out.lost());
}

int main(int argc, char** argv) {
  bool const from_beginning = argc > 1 && std::strcmp(argv[1], "-a") == 0;
  std::vector<std::string> const names(argv + (from_beginning ? 2 : std::min(argc, 1)), argv + argc);
  if (names.empty() || names[0].empty() || names[0][0] == '-') {
    std::cerr << "usage: tail_files [-a] file...\n";
    return 2;
  }
  try {
    aio::run(async_main(names, from_beginning));
  } catch (std::exception const& error) {
    std::cerr << "tail_files: " << error.what() << '\n';
    return 1;
  }
}
