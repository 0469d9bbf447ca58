// SPDX-License-Identifier: MIT

// Rooms to talk in: who connects says a name first, then each line goes to everybody in the room.
//
//   chat_server [port [host]]     port 8888 of 127.0.0.1; 0 is any port that is free
//
//   /join ROOM    from the lobby, where all begin, to another room; it is there while somebody is in it
//   /name NAME    another name      /who    who is here      /quit
//
// Try it with `nc 127.0.0.1 8888`, twice. Who does not read what the others say is dropped, so that nobody has to wait
// for anybody. At Ctrl-C or SIGTERM the server says goodbye to all.

#include <aio/aio.hpp>

#include <cstddef>
#include <cstdint>
#include <exception>
#include <functional>
#include <iostream>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>

// Everybody who said a name, by room.
class chat {
 public:
  // Takes part while it lives.
  class member {
   public:
    member(chat& in, aio::stream_writer& writer, std::string name)
        : chat_(in), writer_(writer), name_(std::move(name)) {
      chat_.names_.insert(name_);
      join("lobby");
    }
    member(member const&) = delete;
    ~member() {
      leave(too_slow_ ? " was too slow" : " has left");
      chat_.names_.erase(name_);
    }

    // A line of this member.
    void says(std::string_view line) {
      if (line.starts_with("/join ")) {
        leave(" has left");
        join(std::string(line.substr(6)));
      } else if (line.starts_with("/name ")) {
        change_name(std::string(line.substr(6)));
      } else if (line == "/who") {
        for (member const* each : chat_.rooms_[room_]) tell("* " + each->name_ + " is in " + room_ + "\n");
      } else {
        chat_.say(room_, name_ + ": " + std::string(line));
      }
    }

   private:
    friend class chat;

    void join(std::string const& room) {
      room_ = room;
      chat_.say(room_, "* " + name_ + " is here");
      chat_.rooms_[room_].insert(this);
    }
    void leave(std::string const& how) {
      auto const here = chat_.rooms_.find(room_);
      here->second.erase(this);
      if (here->second.empty()) chat_.rooms_.erase(here);
      chat_.say(room_, "* " + name_ + how);
    }
    void change_name(std::string const& name) {
      if (!chat_.is_free(name)) return tell("* that name is taken\n");
      chat_.say(room_, "* " + name_ + " is now " + name);
      chat_.names_.erase(name_);
      chat_.names_.insert(name);
      name_ = name;
    }
    void tell(std::string const& line) {
      if (writer_.is_closing()) return;  // about to leave, or lost
      writer_.write(line);               // queues it; all of a moment goes out at once
      if (writer_.write_buffer_size() < enough) return;
      too_slow_ = true;
      writer_.abort();  // its reader comes to the end by that
    }

    chat& chat_;
    aio::stream_writer& writer_;
    std::string name_;
    std::string room_;
    bool too_slow_ = false;
  };

  bool is_free(std::string_view name) const { return !name.empty() && !names_.contains(name); }

 private:
  static constexpr std::size_t enough = 256 * 1024;

  void say(std::string const& room, std::string const& text) {
    auto const here = rooms_.find(room);
    if (here == rooms_.end()) return;
    for (member* each : here->second) each->tell(text + "\n");
  }

  std::set<std::string, std::less<>> names_;
  std::map<std::string, std::set<member*>> rooms_;
};

// All that somebody says, to the end, or to /quit.
aio::task<> listen(chat& all, aio::stream_reader& reader, aio::stream_writer& writer) {
  std::optional<chat::member> me;
  writer.write("* what is your name?\n");
  while (true) {
    auto const read = co_await aio::as_result(reader.next_line());
    if (read.error<aio::limit_overrun_error>()) {  // no co_await in a catch block
      co_await reader.skip_until("\n");
      if (!writer.is_closing()) writer.write("* that line is too long\n");
      continue;
    }
    auto const& line = read.value();  // or throws what it was
    if (!line || *line == "/quit") co_return;
    if (me) {
      me->says(*line);
    } else if (all.is_free(*line)) {
      me.emplace(all, writer, std::string(*line));
    } else {
      writer.write("* that name is taken, or none: what is yours?\n");
    }
  }
}

aio::task<> talk(chat& all, aio::stream_reader reader, aio::stream_writer writer) {
  try {
    co_await listen(all, reader, writer);
  } catch (aio::cancelled_error const&) {
    if (!writer.is_closing()) writer.write("* goodbye\n");  // sent, though the task is cancelled: run() waits for it
    throw;
  } catch (std::system_error const&) {
    // The connection is lost. That is no error of the server's.
  } catch (aio::incomplete_read_error const&) {
    // So it is, in the middle of too long a line.
  }
}

aio::task<> serve(std::string host, std::uint16_t port) {
  chat all;
  auto const handler = [&all](aio::stream_reader reader, aio::stream_writer writer) {
    return talk(all, std::move(reader), std::move(writer));
  };
  auto server = co_await aio::start_server(handler, host, port, aio::server_options().limit(4096));
  for (auto const& where : server.sockets()) std::cout << "serving on " << where.to_string() << std::endl;
  co_await server.serve_forever();  // when this is over, so is every talk(): `all` may go
}

int main(int argc, char** argv) {
  try {
    auto const port = argc > 1 ? std::stoul(argv[1]) : 8888;
    aio::run(serve(argc > 2 ? argv[2] : "127.0.0.1", static_cast<std::uint16_t>(port)));
  } catch (std::exception const& error) {
    std::cerr << "chat_server: " << error.what() << '\n';
    return 1;
  }
}
