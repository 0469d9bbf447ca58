// SPDX-License-Identifier: MIT
#pragma once

// SQLite, which blocks, beside a loop that must not be blocked: functions with a connection, in threads.
//
//   int add(sqlite::connection& db, std::string name) {              // any function, in a thread and in a transaction
//     db.execute("insert into articles (name) values (?)", name);
//     return static_cast<int>(db.last_id());
//   }
//
//   sqlite::database articles("articles.db", 4);
//   int const id = co_await articles.write(add, "shoe");              // one after the other
//   auto const names = co_await articles.read(names_like, "s%");      // four at once, also while one writes
//
// A connection is used by one thread at a time, each time by another one: that is what SQLite asks for where it is
// opened with SQLITE_OPEN_NOMUTEX.

#include <aio/aio.hpp>

#include <sqlite3.h>

#include <cstddef>
#include <cstdint>
#include <exception>
#include <memory>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

namespace sqlite {

class error : public std::runtime_error {
 public:
  error(int code, std::string const& message) : runtime_error(message), code_(code) {}
  /// SQLite's extended code: SQLITE_CONSTRAINT_UNIQUE...
  int code() const noexcept { return code_; }

 private:
  int code_;
};

using value = std::variant<std::nullptr_t, std::int64_t, double, std::string>;
using row = std::vector<value>;

/// A connection, as the functions see it that are given to a database. Throws, each function: error.
class connection {
 public:
  explicit connection(std::string const& path);

  /// Runs one statement, and gives its rows; ?, ?... stand for the values: numbers, texts, nullptr for null.
  template <class... Values>
  std::vector<row> execute(std::string const& sql, Values const&... values) {
    return run(sql, {to_value(values)...});
  }
  /// Of the row that was added last.
  std::int64_t last_id() const noexcept { return sqlite3_last_insert_rowid(raw_.get()); }

  /// From now on what runs is given up when this asks for it: error with SQLITE_INTERRUPT.
  void stop_by(aio::stop_token stop) noexcept;

 private:
  template <class Value>
  static value to_value(Value const& one);
  std::vector<row> run(std::string const& sql, row const& values);
  void check(int code) const;

  struct close {
    void operator()(sqlite3* one) const noexcept { sqlite3_close_v2(one); }
  };
  std::unique_ptr<sqlite3, close> raw_;
  std::unique_ptr<aio::stop_token> stop_ = std::make_unique<aio::stop_token>();  // stays where SQLite knows it
};

template <class Fn, class... Args>
using given_by = std::invoke_result_t<Fn&, connection&, Args&...>;

/// A file, with one connection that writes and several that read.
///
/// Lifetime: must outlive what is awaited.
/// Threads: that of the loop; the functions run in others.
class database {
 public:
  /// Throws: error, if the file cannot be opened.
  database(std::string const& path, int readers);

  /// Calls `fn(connection, args...)` in a thread, in a transaction, and gives what it returns. What it throws undoes
  /// what it did. `fn` and `args` are copied; a lambda with captures has a name, before it is given.
  ///
  /// Cancelled: the statement that runs is given up, and the transaction undone. So
  /// `aio::wait_for(db.read(...), 5s)` works.
  template <class Fn, class... Args>
  aio::task<given_by<Fn, Args...>> write(Fn fn, Args... args);
  /// The same of what does not write.
  template <class Fn, class... Args>
  aio::task<given_by<Fn, Args...>> read(Fn fn, Args... args);

 private:
  aio::lock writing_;
  connection writer_;
  aio::semaphore reading_;
  std::vector<connection> idle_;  // as many as reading_ has permits
};

// ---------------------------------------------------------------- implementation

inline connection::connection(std::string const& path) {
  sqlite3* made = nullptr;
  int const code = sqlite3_open_v2(path.c_str(), &made,
                                   SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX, nullptr);
  raw_.reset(made);
  check(code);
  sqlite3_extended_result_codes(made, 1);
  sqlite3_busy_timeout(made, 5000);  // for other processes
  execute("pragma journal_mode = wal");  // who reads does not wait for who writes
  execute("pragma synchronous = normal");
}

inline void connection::check(int code) const {
  if (code == SQLITE_OK || code == SQLITE_ROW || code == SQLITE_DONE) return;
  throw error(code, raw_ ? sqlite3_errmsg(raw_.get()) : sqlite3_errstr(code));
}

// Not sqlite3_interrupt(): that is lost where it comes between two statements, and the next one runs to its end.
inline void connection::stop_by(aio::stop_token stop) noexcept {
  *stop_ = std::move(stop);
  auto const asked = [](void* token) -> int { return static_cast<aio::stop_token*>(token)->stop_requested() ? 1 : 0; };
  sqlite3_progress_handler(raw_.get(), 1000, asked, stop_.get());
}

template <class Value>
value connection::to_value(Value const& one) {
  if constexpr (std::is_integral_v<Value>) {
    return static_cast<std::int64_t>(one);
  } else if constexpr (std::is_floating_point_v<Value>) {
    return static_cast<double>(one);
  } else if constexpr (std::is_null_pointer_v<Value> || std::is_same_v<Value, value>) {
    return one;
  } else {
    return std::string(one);
  }
}

inline std::vector<row> connection::run(std::string const& sql, row const& values) {
  sqlite3_stmt* made = nullptr;
  check(sqlite3_prepare_v2(raw_.get(), sql.c_str(), -1, &made, nullptr));
  std::unique_ptr<sqlite3_stmt, int (*)(sqlite3_stmt*)> const statement(made, sqlite3_finalize);

  int place = 0;
  for (value const& each : values) {
    ++place;
    if (auto const* number = std::get_if<std::int64_t>(&each)) {
      check(sqlite3_bind_int64(made, place, *number));
    } else if (auto const* real = std::get_if<double>(&each)) {
      check(sqlite3_bind_double(made, place, *real));
    } else if (auto const* text = std::get_if<std::string>(&each)) {
      check(sqlite3_bind_text(made, place, text->data(), static_cast<int>(text->size()), SQLITE_STATIC));
    }
  }

  std::vector<row> rows;
  for (;;) {
    int const code = sqlite3_step(made);
    check(code);
    if (code == SQLITE_DONE) return rows;
    row& next = rows.emplace_back();
    for (int i = 0; i < sqlite3_column_count(made); ++i) {
      int const type = sqlite3_column_type(made, i);
      if (type == SQLITE_NULL) {
        next.emplace_back(nullptr);
      } else if (type == SQLITE_INTEGER) {
        next.emplace_back(std::int64_t{sqlite3_column_int64(made, i)});
      } else if (type == SQLITE_FLOAT) {
        next.emplace_back(sqlite3_column_double(made, i));
      } else {
        auto const* const bytes = static_cast<char const*>(sqlite3_column_blob(made, i));
        next.emplace_back(std::string(bytes ? bytes : "", static_cast<std::size_t>(sqlite3_column_bytes(made, i))));
      }
    }
  }
}

/// Undone in the end, unless it was committed.
class transaction {
 public:
  transaction(connection& db, char const* begin) : db_(db) { db_.execute(begin); }
  transaction(transaction const&) = delete;
  ~transaction() {
    if (committed_) return;
    db_.stop_by(aio::stop_token());  // this is not given up
    try {
      db_.execute("rollback");
    } catch (error const&) {
      // SQLite has done so by itself.
    }
  }
  void commit() {
    db_.execute("commit");
    committed_ = true;
  }

 private:
  connection& db_;
  bool committed_ = false;
};

/// In a thread: what `fn` does, or nothing of it. That it was asked to stop is no error that anybody is to hear of.
template <class T, class Fn, class... Args>
aio::result<T> in_transaction(aio::stop_token stop, connection& db, char const* begin, Fn& fn, Args&... args) {
  try {
    db.stop_by(std::move(stop));
    transaction whole(db, begin);
    if constexpr (std::is_void_v<T>) {
      fn(db, args...);
      whole.commit();
      return aio::result<T>(std::in_place);
    } else {
      aio::result<T> given(std::in_place, fn(db, args...));
      whole.commit();
      return given;
    }
  } catch (error const& problem) {
    if (problem.code() != SQLITE_INTERRUPT) throw;
    return aio::result<T>(std::current_exception());
  }
}

inline database::database(std::string const& path, int readers) : writer_(path), reading_(readers) {
  for (int i = 0; i < readers; ++i) idle_.emplace_back(path).execute("pragma query_only = on");
}

template <class Fn, class... Args>
aio::task<given_by<Fn, Args...>> database::write(Fn fn, Args... args) {
  auto const turn = co_await writing_.acquire();
  // What is referred to stays: to_thread() waits for its function, also when it is cancelled.
  auto const call = [&](aio::stop_token stop) {
    return in_transaction<given_by<Fn, Args...>>(std::move(stop), writer_, "begin immediate", fn, args...);
  };
  auto done = co_await aio::to_thread(call);
  co_return std::move(done).value();
}

template <class Fn, class... Args>
aio::task<given_by<Fn, Args...>> database::read(Fn fn, Args... args) {
  auto const permit = co_await reading_.acquire();
  struct borrowed {
    explicit borrowed(std::vector<connection>& from) : idle(from), db(std::move(from.back())) { idle.pop_back(); }
    borrowed(borrowed const&) = delete;
    ~borrowed() { idle.push_back(std::move(db)); }
    std::vector<connection>& idle;
    connection db;
  } one(idle_);
  auto const call = [&](aio::stop_token stop) {
    return in_transaction<given_by<Fn, Args...>>(std::move(stop), one.db, "begin", fn, args...);
  };
  auto done = co_await aio::to_thread(call);
  co_return std::move(done).value();
}

}  // namespace sqlite
