// SPDX-License-Identifier: MIT

// Asks a PostgreSQL server many things at once, by ten connections.
//
//   postgres [connection [queries [seconds]]]
//
// `connection` is libpq's, such as "host=127.0.0.1 dbname=test"; without one the PG... variables of the environment
// count. 1,000 queries, which the server takes 0 seconds for, unless something else is said. Makes a table,
// aio_articles, and drops it in the end.
//
// A query that fails is told of, with its SQLSTATE, and the others go on; where the server went away, as soon as it is
// back. Exit status: 0 if every query had the right answer, 1 if not, 2 if nothing could be begun.

#include "postgres.hpp"

#include <aio/aio.hpp>

#include <chrono>
#include <cstddef>
#include <exception>
#include <iostream>
#include <string>
#include <utility>
#include <vector>

using namespace std::chrono_literals;

constexpr int articles = 10'000;

aio::async_generator<std::string> all_articles() {
  for (int id = 1; id <= articles; ++id) {
    std::string line = std::to_string(id) + "\tarticle " + std::to_string(id) + "\n";
    co_yield std::move(line);
  }
}

aio::task<> make_table(pg::pool& database) {
  auto db = co_await database.acquire();
  co_await db->query("drop table if exists aio_articles");
  co_await db->query("create table aio_articles (id int primary key, name text not null)");
  co_await db->copy_in("copy aio_articles from stdin", all_articles());
}

// Whether it was answered, and rightly.
aio::task<bool> ask(pg::pool& database, int number, double seconds) {
  int const id = number % articles + 1;
  try {
    auto db = co_await database.acquire();
    auto const rows =
        co_await db->query("select name from aio_articles, pg_sleep($2::float8) where id = $1::int", id, seconds);
    co_return rows.rows() == 1 && rows.text(0, 0) == "article " + std::to_string(id);
  } catch (pg::error const& error) {
    std::cerr << "query " << number << ": " << error.sqlstate() << ' ' << error.what() << std::endl;
    co_return false;
  }
}

aio::task<> show_errors(pg::pool& database) {
  auto db = co_await database.acquire();
  try {
    co_await db->query("insert into aio_articles values ($1, $2)", 1, "twice");
  } catch (pg::error const& error) {
    std::cout << "a key that is there already: SQLSTATE " << error.sqlstate() << '\n';
  }
  auto const late = co_await aio::as_result(aio::wait_for(db->query("select pg_sleep(60)"), 100ms));
  if (late.error<aio::timeout_error>()) std::cout << "a query was given up\n";
  auto const rows = co_await db->query("select $1::text || $2, $3::int is null", "its ", "connection", std::nullopt);
  std::cout << "and " << rows.text(0, 0) << " answers the next" << std::endl;
}

aio::task<std::size_t> count_lines(pg::pool& database) {
  auto db = co_await database.acquire();
  std::size_t count = 0;
  auto lines = db->copy_out("copy aio_articles to stdout");
  while (co_await lines.next()) ++count;
  co_return count;
}

// Returns the exit status.
aio::task<int> async_main(std::string info, int queries, double seconds) {
  pg::pool database(info, 10);
  co_await make_table(database);
  co_await show_errors(database);

  std::vector<aio::task<bool>> asked;
  for (int i = 0; i < queries; ++i) asked.push_back(ask(database, i, seconds));
  auto const right = co_await aio::gather(std::move(asked));
  std::size_t answered = 0;
  for (bool const each : right) answered += each ? 1 : 0;
  std::cout << answered << " of " << queries << " queries answered\n";

  std::cout << co_await count_lines(database) << " lines copied out\n";
  auto db = co_await database.acquire();
  co_await db->query("drop table aio_articles");
  co_return answered == right.size() ? 0 : 1;
}

int main(int argc, char** argv) {
  try {
    std::string const info = argc > 1 ? argv[1] : "";
    int const queries = argc > 2 ? std::stoi(argv[2]) : 1000;
    return aio::run(async_main(info, queries, argc > 3 ? std::stod(argv[3]) : 0));
  } catch (std::exception const& error) {
    std::cerr << "postgres: " << error.what() << '\n';
    return 2;
  }
}
