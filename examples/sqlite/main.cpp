// SPDX-License-Identifier: MIT

// Writes and reads an SQLite file from many tasks at once.
//
//   sqlite [file [number]]
//
// A file in the temporary folder, and 1,000 articles, unless something else is said; the table aio_articles of the file
// is made, and dropped in the end. Exit status: 0 if all was as it should be, 1 if not, 2 if nothing could be begun.

#include "sqlite.hpp"

#include <aio/aio.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <filesystem>
#include <iostream>
#include <stdexcept>
#include <string>
#include <utility>
#include <variant>
#include <vector>

using namespace std::chrono_literals;

// What is done in threads: plain functions.

void make_table(sqlite::connection& db) {
  db.execute("drop table if exists aio_articles");
  db.execute("create table aio_articles (id integer primary key, name text not null unique, price real)");
}

std::int64_t add(sqlite::connection& db, std::string name, double price) {
  db.execute("insert into aio_articles (name, price) values (?, ?)", name, price);
  return db.last_id();
}

std::string name_of(sqlite::connection& db, std::int64_t id) {
  auto const rows = db.execute("select name from aio_articles where id = ?", id);
  return rows.empty() ? "" : std::get<std::string>(rows[0][0]);
}

std::int64_t count(sqlite::connection& db) {
  return std::get<std::int64_t>(db.execute("select count(*) from aio_articles")[0][0]);
}

void change_half(sqlite::connection& db) {
  db.execute("delete from aio_articles");
  throw std::runtime_error("and then thought better of it");
}

void count_for_ever(sqlite::connection& db) {
  db.execute("with recursive n(i) as (select 1 union all select i + 1 from n) select count(*) from n");
}

// Whether it can be read as it was written.
aio::task<bool> add_and_look(sqlite::database& db, int number) {
  std::string const name = "article " + std::to_string(number);
  std::int64_t const id = co_await db.write(add, name, number / 100.0);
  std::string const found = co_await db.read(name_of, id);
  co_return found == name;
}

// Returns the exit status.
aio::task<int> async_main(std::string path, int number) {
  sqlite::database db(path, 4);
  co_await db.write(make_table);

  std::vector<aio::task<bool>> begun;
  for (int i = 0; i < number; ++i) begun.push_back(add_and_look(db, i));
  auto const right = co_await aio::gather(std::move(begun));
  int all = 0;
  for (bool const each : right) all += each ? 1 : 0;
  std::cout << all << " of " << number << " articles written and read\n";

  auto const twice = co_await aio::as_result(db.write(add, "article 0", 1.0));
  auto const* const refused = twice.error<sqlite::error>();
  bool const unique = refused && refused->code() == SQLITE_CONSTRAINT_UNIQUE;
  if (refused) std::cout << "a second article 0: " << refused->what() << '\n';

  auto const half = co_await aio::as_result(db.write(change_half));
  std::int64_t const left = co_await db.read(count);
  std::cout << "all were deleted, " << aio::describe(half.error()) << ": " << left << " are there\n";

  // Four that read and one that writes, for ever: they are given up, and their connections are good for the next.
  std::vector<aio::task<>> endless;
  for (int i = 0; i < 4; ++i) endless.push_back(db.read(count_for_ever));
  endless.push_back(db.write(count_for_ever));
  auto const late = co_await aio::as_result(aio::wait_for(aio::gather(std::move(endless)), 100ms));
  bool const given_up = late.error<aio::timeout_error>() != nullptr;
  std::int64_t const after = co_await db.read(count);
  std::cout << (given_up ? "what takes too long was given up" : "an endless query has an end") << ": " << after
            << " are there\n";

  auto const drop = [](sqlite::connection& to) { to.execute("drop table aio_articles"); };
  co_await db.write(drop);
  co_return all == number&& unique&& left == number&& given_up&& after == number ? 0 : 1;
}

int main(int argc, char** argv) {
  try {
    std::filesystem::path const usual = std::filesystem::temp_directory_path() / "aio_articles.db";
    return aio::run(async_main(argc > 1 ? argv[1] : usual.string(), argc > 2 ? std::stoi(argv[2]) : 1000));
  } catch (std::exception const& error) {
    std::cerr << "sqlite: " << error.what() << '\n';
    return 2;
  }
}
