// SPDX-License-Identifier: MIT

// A room to talk in: who connects says a name first, then each line goes to everybody.
//
//   chat_server [port [host]]     port 8888 of 127.0.0.1; 0 is any port that is free
//
// Try it with `nc 127.0.0.1 8888`, twice. Who does not read what the others say is dropped, so that nobody has to wait
// for anybody. At Ctrl-C the server says goodbye to all.

#include <aio/aio.hpp>

#include <cstddef>
#include <cstdint>
#include <exception>
#include <iostream>
#include <set>
#include <string>
#include <system_error>
#include <utility>

// Everybody who said a name.
class room {
 public:
  // Stays in the room while it lives.
  class member {
   public:
    member(room& in, aio::stream_writer& writer, std::string name)
        : room_(in), writer_(writer), name_(std::move(name)) {
      room_.say("* " + name_ + " is here");
      room_.members_.insert(this);
    }
    member(member const&) = delete;
    ~member() {
      room_.members_.erase(this);
      room_.say("* " + name_ + (too_slow_ ? " was too slow" : " has left"));
    }

    void say(std::string const& line) { room_.say(name_ + ": " + line); }
    bool too_slow() const { return too_slow_; }

   private:
    friend class room;
    void hear(std::string const& line) {
      if (writer_.is_closing()) return;  // about to leave
      writer_.write(line);               // queues it; all of a moment goes out at once
      if (writer_.write_buffer_size() < enough) return;
      too_slow_ = true;
      writer_.abort();  // its reader comes to the end by that
    }

    room& room_;
    aio::stream_writer& writer_;
    std::string name_;
    bool too_slow_ = false;
  };

 private:
  static constexpr std::size_t enough = 256 * 1024;

  void say(std::string const& text) {
    std::string const line = text + "\n";
    for (member* each : members_) each->hear(line);
  }
  std::set<member*> members_;
};

aio::task<> talk(room& here, aio::stream_reader reader, aio::stream_writer writer) {
  writer.write("* what is your name?\n");
  auto const name = co_await reader.next_line();
  if (!name || name->empty()) co_return;
  room::member me(here, writer, std::string(*name));
  try {
    while (auto const line = co_await reader.next_line()) me.say(std::string(*line));
  } catch (aio::cancelled_error const&) {
    writer.write("* goodbye\n");  // sent, though the task is cancelled: run() waits for it
    throw;
  } catch (std::system_error const&) {
    // The connection is lost. That is no error of the server's.
  }
}

aio::task<> serve(std::string host, std::uint16_t port) {
  room here;
  auto const handler = [&here](aio::stream_reader reader, aio::stream_writer writer) {
    return talk(here, std::move(reader), std::move(writer));
  };
  auto server = co_await aio::start_server(handler, host, port, aio::server_options().limit(4096));
  for (auto const& where : server.sockets()) std::cout << "serving on " << where.to_string() << std::endl;
  co_await server.serve_forever();  // when this is over, so is every talk(): `here` may go
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
