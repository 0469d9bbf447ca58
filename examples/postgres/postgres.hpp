// SPDX-License-Identifier: MIT
#pragma once

// PostgreSQL's libpq as awaitables: many queries at once on the event loop's one thread.
//
//   pg::pool database("host=127.0.0.1 dbname=shop", 10);
//   auto db = co_await database.acquire();                      // at most 10 connections
//   auto rows = co_await db->query("select name from articles where id = $1", 7);
//   std::cout << rows.text(0, 0) << '\n';
//
//   auto lines = db->copy_out("copy articles to stdout");
//   while (std::string* line = co_await lines.next()) std::cout << *line;
//
// libpq's non-blocking half does the protocol and leaves the waiting to somebody else: it has one socket, and says
// when it would have to wait for it. Wherever it does, the task awaits wait_readable() or wait_writable(). So can any
// library that has a descriptor.

#include <aio/aio.hpp>

#include <libpq-fe.h>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <exception>
#include <memory>
#include <new>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

namespace pg {

/// What the server, or libpq, refused.
class error : public std::runtime_error {
 public:
  error(char const* message, char const* sqlstate);

  /// Five letters: "23505" is a key that is there already. "08006", if the connection was lost or never came about.
  std::string const& sqlstate() const noexcept { return sqlstate_; }

 private:
  std::string sqlstate_;
};

/// The rows that a query gave, as text.
class result {
 public:
  result() noexcept : result(nullptr) {}
  explicit result(PGresult* owned) noexcept : raw_(owned) {}

  int rows() const { return PQntuples(raw_.get()); }
  int columns() const { return PQnfields(raw_.get()); }
  bool is_null(int row, int column) const { return PQgetisnull(raw_.get(), row, column) != 0; }
  /// Lifetime: the result's.
  std::string_view text(int row, int column) const {
    return {PQgetvalue(raw_.get(), row, column), static_cast<std::size_t>(PQgetlength(raw_.get(), row, column))};
  }
  PGresult* raw() const noexcept { return raw_.get(); }

 private:
  struct clear {
    void operator()(PGresult* one) const noexcept { PQclear(one); }
  };
  std::unique_ptr<PGresult, clear> raw_;
};

/// One connection. It does one thing at a time: who wants several at once takes several from a pool.
///
/// Throws, each function: error.
/// Lifetime: it stays where it is while something is awaited, or a generator of it is there.
/// Threads: that of the loop.
class connection {
 public:
  /// `info` is libpq's: "host=127.0.0.1 dbname=shop", or "postgresql://127.0.0.1/shop".
  static aio::task<connection> open(std::string info);

  /// Runs one statement; $1, $2... stand for the values: numbers, texts, std::nullopt for null.
  ///
  /// Cancelled: asks the server to stop, and the connection can be used again. So
  /// `aio::wait_for(db->query(...), 5s)` works.
  template <class... Values>
  aio::task<result> query(std::string sql, Values const&... values) {
    return run(std::move(sql), {parameter(values)...});
  }

  /// "copy t from stdin": sends what the generator gives, in pieces of any size. If that throws, or the task is
  /// cancelled, nothing is copied, and the connection cannot be used any more.
  aio::task<> copy_in(std::string sql, aio::async_generator<std::string> text);

  /// "copy t to stdout", line by line. Who leaves before the end cannot use the connection any more.
  aio::async_generator<std::string> copy_out(std::string sql);

  /// Nothing is going on, neither a statement nor a transaction, and the server is there as far as one can tell.
  bool idle() const;

 private:
  using parameters = std::vector<std::optional<std::string>>;

  explicit connection(PGconn* owned) noexcept : raw_(owned) {}
  template <class Value>
  static std::optional<std::string> parameter(Value const& value);

  aio::task<result> run(std::string sql, parameters values);
  aio::task<result> exchange(std::string sql, parameters values);
  aio::task<result> outcome();
  aio::task<result> next_result();
  aio::task<> flush();
  aio::task<> wait_for_input();
  aio::task<> stop();

  PGconn* raw() const noexcept { return raw_.get(); }
  void check(bool done) const;

  struct close {
    void operator()(PGconn* one) const noexcept { PQfinish(one); }
  };
  std::unique_ptr<PGconn, close> raw_;
};

/// Up to `size` connections, opened when they are needed. One that broke, or was left in the middle of something, is
/// replaced; while the server is not there that is tried again and again, with pauses.
///
/// Lifetime: must outlive what acquire() gives.
class pool {
 public:
  class lease;

  pool(std::string info, int size) : info_(std::move(info)), free_(size) {}

  /// Waits for a connection, which is the caller's until the lease goes.
  /// Throws: error, if there was no server for `patience`.
  aio::task<lease> acquire();

 private:
  static constexpr std::chrono::seconds patience{20};
  static constexpr std::chrono::seconds longest_attempt{5};

  aio::task<connection> connect();

  std::string info_;
  aio::semaphore free_;
  std::vector<connection> idle_;
};

/// A connection of a pool.
class pool::lease {
 public:
  lease(lease&&) noexcept = default;
  ~lease() {
    if (db_ && db_->idle()) from_->idle_.push_back(std::move(*db_));  // before the permit lets the next one look
  }
  connection* operator->() noexcept { return db_.get(); }

 private:
  friend class pool;
  lease(pool& from, aio::semaphore::permit permit, connection db)
      : from_(&from), permit_(std::move(permit)), db_(std::make_unique<connection>(std::move(db))) {}

  pool* from_;
  aio::semaphore::permit permit_;
  std::unique_ptr<connection> db_;
};

// ---------------------------------------------------------------- implementation

inline error::error(char const* message, char const* sqlstate)
    : runtime_error(std::string(message, std::string_view(message).find_last_not_of('\n') + 1)),
      sqlstate_(sqlstate ? sqlstate : "08006") {}

inline void connection::check(bool done) const {
  if (!done) throw error(PQerrorMessage(raw()), nullptr);
}

template <class Value>
std::optional<std::string> connection::parameter(Value const& value) {
  if constexpr (std::is_same_v<Value, bool>) {
    return value ? "t" : "f";
  } else if constexpr (std::is_arithmetic_v<Value>) {
    return std::to_string(value);
  } else {
    return std::optional<std::string>(value);
  }
}

inline aio::task<connection> connection::open(std::string info) {
  // The name of the host is looked up in here, which may take its time: not on the loop's thread. Who is cancelled
  // meanwhile leaves it behind.
  auto const start = [](std::string const& text) { return connection(PQconnectStart(text.c_str())); };
  connection made = co_await aio::to_thread(aio::abandon_on_cancel, start, info);
  if (!made.raw()) throw std::bad_alloc();
  made.check(PQstatus(made.raw()) != CONNECTION_BAD);
  PQsetNoticeProcessor(made.raw(), [](void*, char const*) {}, nullptr);  // else they are written to stderr
  for (PostgresPollingStatusType wanted = PGRES_POLLING_WRITING; wanted != PGRES_POLLING_OK;) {
    // Asked for anew each time: the next address has another socket.
    if (wanted == PGRES_POLLING_WRITING) co_await aio::wait_writable(PQsocket(made.raw()));
    if (wanted == PGRES_POLLING_READING) co_await aio::wait_readable(PQsocket(made.raw()));
    wanted = PQconnectPoll(made.raw());
    made.check(wanted != PGRES_POLLING_FAILED);
  }
  made.check(PQsetnonblocking(made.raw(), 1) == 0);
  co_return made;
}

inline bool connection::idle() const {
  // Twice: the server may have said why it ends before it did.
  return PQconsumeInput(raw()) != 0 && PQconsumeInput(raw()) != 0 && PQtransactionStatus(raw()) == PQTRANS_IDLE;
}

inline aio::task<> connection::wait_for_input() {
  co_await aio::wait_readable(PQsocket(raw()));
  check(PQconsumeInput(raw()) != 0);
}

// Sends what libpq has queued. The server may be sending, too, and wait for us to read before it reads any more.
inline aio::task<> connection::flush() {
  for (int left = PQflush(raw()); left != 0; left = PQflush(raw())) {
    check(left > 0);
    co_await aio::race(aio::wait_writable(PQsocket(raw())), aio::wait_readable(PQsocket(raw())));
    check(PQconsumeInput(raw()) != 0);  // takes what there is, and does not wait
  }
}

// The next of the statement that was sent; empty behind the last.
inline aio::task<result> connection::next_result() {
  while (PQisBusy(raw()) != 0) co_await wait_for_input();
  co_return result(PQgetResult(raw()));
}

// What the statement that was sent comes to, or its error. Of a copy: that it can begin, and then once more.
inline aio::task<result> connection::outcome() {
  result first = co_await next_result();
  ExecStatusType const status = PQresultStatus(first.raw());
  if (status == PGRES_COPY_IN || status == PGRES_COPY_OUT) co_return first;
  auto const end = co_await aio::as_result(next_result());  // libpq is free for the next statement only then
  bool const failed = status != PGRES_COMMAND_OK && status != PGRES_TUPLES_OK && status != PGRES_EMPTY_QUERY;
  if (failed && !end.cancelled()) {  // the first error is the one that says why
    check(first.raw() != nullptr);
    throw error(PQresultErrorMessage(first.raw()), PQresultErrorField(first.raw(), PG_DIAG_SQLSTATE));
  }
  end.rethrow();
  co_return first;
}

inline aio::task<result> connection::exchange(std::string sql, parameters values) {
  std::vector<char const*> texts;
  for (auto const& each : values) texts.push_back(each ? each->c_str() : nullptr);
  auto const count = static_cast<int>(texts.size());
  check(PQsendQueryParams(raw(), sql.c_str(), count, nullptr, texts.data(), nullptr, nullptr, 0) != 0);
  co_await flush();
  co_return co_await outcome();
}

inline aio::task<result> connection::run(std::string sql, parameters values) {
  auto ended = co_await aio::as_result(exchange(std::move(sql), std::move(values)));
  if (ended.cancelled() && PQtransactionStatus(raw()) == PQTRANS_ACTIVE) co_await stop();
  co_return std::move(ended).value();
}

// Asks the server, by another connection that libpq makes and waits for, to give up what it does for this one.
inline aio::task<> connection::stop() {
  std::shared_ptr<PGcancel> const request(PQgetCancel(raw()), PQfreeCancel);
  auto const ask = [](std::shared_ptr<PGcancel> const& to) {
    char why_not[256];
    if (to) PQcancel(to.get(), why_not, sizeof why_not);
  };
  auto const end_it = [&]() -> aio::task<> {
    co_await aio::to_thread(aio::abandon_on_cancel, ask, request);
    for (result left = co_await next_result(); left.raw(); left = co_await next_result()) {
    }
  };
  // Whatever goes wrong: the connection is not idle() then, and is replaced.
  (void)co_await aio::as_result(aio::wait_for(end_it(), std::chrono::seconds(5)));
}

inline aio::task<> connection::copy_in(std::string sql, aio::async_generator<std::string> text) {
  result const begun = co_await run(std::move(sql), {});
  if (PQresultStatus(begun.raw()) != PGRES_COPY_IN) throw error("copy_in: this copies nothing from stdin", "42601");
  std::size_t queued = 0;
  while (std::string* piece = co_await text.next()) {
    check(PQputCopyData(raw(), piece->data(), static_cast<int>(piece->size())) == 1);
    queued += piece->size();
    if (queued < 65536) continue;
    co_await flush();  // no more is made than the server takes
    queued = 0;
  }
  check(PQputCopyEnd(raw(), nullptr) == 1);
  co_await flush();
  co_await outcome();
}

inline aio::async_generator<std::string> connection::copy_out(std::string sql) {
  result const begun = co_await run(std::move(sql), {});
  if (PQresultStatus(begun.raw()) != PGRES_COPY_OUT) throw error("copy_out: this copies nothing to stdout", "42601");
  for (;;) {
    char* line = nullptr;
    int const size = PQgetCopyData(raw(), &line, 1);
    check(size != -2);
    if (size == -1) break;  // the end
    if (size == 0) {        // there is none yet
      co_await wait_for_input();
      continue;
    }
    std::string text(line, static_cast<std::size_t>(size));
    PQfreemem(line);
    co_yield std::move(text);
  }
  co_await outcome();
}

inline aio::task<connection> pool::connect() {
  auto const end = std::chrono::steady_clock::now() + patience;
  for (std::chrono::milliseconds pause{50};; pause = std::min(2 * pause, std::chrono::milliseconds(1000))) {
    try {
      co_return co_await aio::wait_for(connection::open(info_), longest_attempt);
    } catch (std::exception const&) {  // refused, too late, or the server is not ready yet
      if (std::chrono::steady_clock::now() + pause > end) throw;
    }
    co_await aio::sleep_for(pause);
  }
}

inline aio::task<pool::lease> pool::acquire() {
  auto permit = co_await free_.acquire();
  while (!idle_.empty()) {
    connection last = std::move(idle_.back());
    idle_.pop_back();
    if (last.idle()) co_return lease(*this, std::move(permit), std::move(last));
  }
  connection made = co_await connect();
  co_return lease(*this, std::move(permit), std::move(made));
}

}  // namespace pg
