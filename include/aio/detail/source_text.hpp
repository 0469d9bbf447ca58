// SPDX-License-Identifier: MIT
#pragma once

// Places in programs as people write them: files and lines, and the names of coroutines; and lengths of time.

#include "aio/config.hpp"

#include <chrono>
#include <cstddef>
#include <source_location>
#include <string>
#include <string_view>
#pragma GCC visibility push(default)

namespace aio::inline AIO_ABI::detail {

/// Puts `by` in the place of each `what`.
AIO_ON_DEMAND
void replace_each(std::string& text, std::string_view what, std::string_view by) {
  for (std::size_t at = 0; (at = text.find(what, at)) != text.npos; at += by.size()) text.replace(at, what.size(), by);
}

/// What a compiler says, as a programmer writes it: without the inline namespace of this version.
AIO_ON_DEMAND
std::string without_abi(std::string text) {
  detail::replace_each(text, "aio::" AIO_TEXT(AIO_ABI) "::", "aio::");
  return text;
}

/// "crawl.cpp:41"
AIO_ON_DEMAND
std::string place(std::source_location at) {
  std::string_view file = at.file_name();
  if (auto const slash = file.rfind('/'); slash != std::string_view::npos) {
    file.remove_prefix(slash + 1);
  }
  return std::string(file) + ":" + std::to_string(at.line());
}

/// "1.2 s"
AIO_ON_DEMAND
std::string seconds_text(std::chrono::nanoseconds length) {
  auto const tenths = (std::chrono::ceil<std::chrono::milliseconds>(length).count() + 50) / 100;
  return std::to_string(tenths / 10) + "." + std::to_string(tenths % 10) + " s";
}

/// Whether a place is in aio's own headers, which says nothing to a user: in aio/, aio/detail/ or aio/testing/. What
/// stands before that may differ within one program: precompiled headers and caches of objects give a folder several
/// names. As a single file they are an aio.hpp wherever the program has it.
inline bool is_own(std::source_location at) noexcept {
  std::string_view folder = at.file_name();
  if (!folder.ends_with(".hpp")) return false;
  if (folder == "aio.hpp" || folder.ends_with("/aio.hpp")) return true;
  auto const leave = [&folder](std::string_view last) {
    if (folder.ends_with(last)) folder.remove_suffix(last.size());
  };
  folder = folder.substr(0, folder.rfind('/') + 1);
  leave("detail/");
  leave("testing/");
  return folder == "aio/" || folder.ends_with("/aio/");
}

/// The name of the coroutine of which compilers say
///   g++:   void app::fetch(app::fetch(int)::_ZN3app5fetchEi.Frame*), app::fetch()::<lambda(int)>
///   Clang: aio::task<> app::fetch(int), auto main()::(anonymous class)::operator()(int) const
AIO_ON_DEMAND
std::string coroutine_name(std::string_view text) {
  auto const leave = [&text](std::string_view last) {
    if (text.ends_with(last)) text.remove_suffix(last.size());
  };
  if (text.ends_with(']')) text = text.substr(0, text.rfind(" ["));  // [T = int]
  leave(" const");
  int depth = 0;
  std::size_t at = text.size();
  if (text.ends_with(')')) {
    do {
      --at;
      depth += text[at] == ')' ? 1 : text[at] == '(' ? -1
                                                     : 0;
    } while (depth > 0 && at > 0);
    text = text.substr(0, at);  // without its parameters
    leave("::operator()");
  } else if (!text.ends_with(")>")) {
    return detail::without_abi(std::string(text));
  }
  depth = 0;
  for (at = text.size(); at > 0; --at) {  // without the type of its result
    char const c = text[at - 1];
    depth += c == '>' || c == ')' ? 1 : c == '<' || c == '(' ? -1
                                                             : 0;
    if (c == ' ' && depth == 0) break;
  }
  std::string name = detail::without_abi(std::string(text.substr(at)));
  for (std::size_t found = 0; (found = name.find("::operator()()::", found)) != name.npos;) name.erase(found, 14);
  for (std::string_view const scope : {"{anonymous}::", "(anonymous namespace)::"}) {
    detail::replace_each(name, scope, "");
  }
  for (std::string_view const lambda : {"(anonymous class)", "(lambda)", "<lambda("}) {
    for (std::size_t found = 0; (found = name.find(lambda, found)) != name.npos; ++found) {
      std::size_t end = found + lambda.size();
      for (int inside = 2; lambda.front() == '<' && end < name.size() && inside > 0; ++end) {
        inside += name[end] == '(' || name[end] == '<' ? 1 : name[end] == ')' || name[end] == '>' ? -1
                                                                                                  : 0;
      }
      name.replace(found, end - found, "<lambda>");
    }
  }
  return name;
}

/// A line about a coroutine that an error left at that place: "through crawl.cpp:41 in fetch".
AIO_ON_DEMAND
std::string through(std::source_location at) {
  std::string line = "through " + detail::place(at);
  if (std::string const in = detail::coroutine_name(at.function_name()); !in.empty()) line += " in " + in;
  return line;
}

/// Whether there is such a place, and a user can do something with it.
inline bool is_telling(std::source_location at) noexcept { return at.line() != 0 && !is_own(at); }

/// Where the error of a task came from, as far as that is known.
struct error_origin {
  std::source_location created = {};  // the task
  std::source_location left = {};     // the last await of its outermost coroutine
  std::string trace = {};             // in debug mode lines that say all, in place of both

  /// As lines, or one; empty where nothing is known.
  AIO_ON_DEMAND
  [[nodiscard]] std::string text() const {
    if (!trace.empty()) return trace;
    std::string line;
    if (is_telling(left)) line = detail::through(left);
    if (!is_telling(created)) return line;
    if (!line.empty()) return line + ", created at " + detail::place(created);
    line = "created at " + detail::place(created);
    std::string const in = detail::coroutine_name(created.function_name());
    return in.empty() ? line : line + " in " + in;
  }
};

}  // namespace aio::inline AIO_ABI::detail

#pragma GCC visibility pop
