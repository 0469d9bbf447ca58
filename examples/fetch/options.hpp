// SPDX-License-Identifier: MIT
#pragma once

// The command line of fetch.

#include <chrono>
#include <cstddef>
#include <fstream>
#include <iostream>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

using seconds = std::chrono::duration<double>;

struct options {
  options() = default;

  static constexpr char const* usage =
      "usage: fetch [--limit N] [--timeout SECONDS] [--retries N] [--trace F] [URL | @FILE | -]...\n"
      "  URL              an address to fetch\n"
      "  --file F, @F     addresses from a file, one per line; - is standard input\n"
      "  --limit N        at most N requests at once (10)\n"
      "  --timeout S      give a request up after S seconds (10)\n"
      "  --retries N      more tries when there is no answer, or 408, 429 or 5xx (2)\n"
      "  --trace F        write a timeline of all tasks to F, for ui.perfetto.dev\n"
      "Without an address: a demonstration with a server of its own.\n";

  std::vector<std::string> urls;
  int limit = 10;
  std::optional<seconds> timeout;  // not given: the default depends on what is fetched
  int retries = 2;
  std::string trace;  // empty: none
  bool help = false;

  /// Throws: std::invalid_argument with a sentence, and std::runtime_error for a file that cannot
  /// be read.
  static options parse(std::vector<std::string> const& arguments);
};

// ---------------------------------------------------------------- implementation

inline std::vector<std::string> read_lines(std::string const& name) {
  std::ifstream file;
  if (name != "-") file.open(name);
  std::istream& input = name == "-" ? std::cin : file;
  if (!input) throw std::runtime_error("cannot read " + name);
  std::vector<std::string> lines;
  for (std::string line; std::getline(input, line);) {
    line.erase(line.find_last_not_of(" \t\r") + 1);
    if (!line.empty() && line[0] != '#') lines.push_back(line);
  }
  if (lines.empty()) throw std::runtime_error("no address in " + name);
  return lines;
}

inline options options::parse(std::vector<std::string> const& arguments) {
  options result;
  auto argument = arguments.begin();

  auto const value = [&] {
    if (argument + 1 == arguments.end()) throw std::invalid_argument(*argument + " needs a value");
    return *++argument;
  };
  auto const number = [&](double least) {
    std::string const option = *argument;
    std::string const text = value();
    std::size_t used = 0;
    double parsed = -1;
    try {
      parsed = std::stod(text, &used);
    } catch (std::exception const&) {
      used = 0;
    }
    if (used == 0 || used != text.size() || !(parsed >= least) || parsed > 1e9) {
      throw std::invalid_argument(option + " cannot be " + text);
    }
    return parsed;
  };
  auto const add_file = [&](std::string const& name) {
    for (std::string& line : read_lines(name)) result.urls.push_back(std::move(line));
  };

  for (; argument != arguments.end(); ++argument) {
    if (*argument == "--limit") {
      result.limit = static_cast<int>(number(1));
    } else if (*argument == "--timeout") {
      result.timeout = seconds(number(0.001));
    } else if (*argument == "--retries") {
      result.retries = static_cast<int>(number(0));
    } else if (*argument == "--trace") {
      result.trace = value();
    } else if (*argument == "--file") {
      add_file(value());
    } else if (*argument == "--help") {
      result.help = true;
    } else if (*argument == "-") {
      add_file("-");
    } else if ((*argument)[0] == '@') {
      add_file(argument->substr(1));
    } else if ((*argument)[0] == '-') {
      throw std::invalid_argument("unknown option " + *argument);
    } else {
      result.urls.push_back(*argument);
    }
  }
  return result;
}
