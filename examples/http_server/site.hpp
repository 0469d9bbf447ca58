// SPDX-License-Identifier: MIT
#pragma once

// The files below a folder, as they are asked for. No call here blocks the loop: the system is asked in another thread.

#include <aio/aio.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <unordered_map>
#include <utility>

class site {
 public:
  struct page {
    std::string about;  // lines of the head of an answer
    std::uint64_t size = 0;
    std::string content;               // of a small one,
    std::shared_ptr<aio::file> large;  // and what to read others from
  };

  /// Throws: std::filesystem::filesystem_error, if there is no such folder.
  explicit site(std::filesystem::path const& folder) : folder_(std::filesystem::canonical(folder)) {}

  static std::string about(std::string_view type, std::uint64_t size) {
    return "Content-Type: " + std::string(type) + "\r\nContent-Length: " + std::to_string(size) + "\r\n";
  }

  /// What a target such as "/docs/?page=2" stands for; none, if that is no file below the folder. The target has to
  /// stay until it is found. Throws: std::system_error, if it cannot be read.
  aio::task<std::shared_ptr<page const>> find(std::string const& target) {
    auto const now = std::chrono::steady_clock::now();
    auto const found = kept_.find(target);
    if (found != kept_.end()) {
      if (now - found->second.checked < fresh) co_return found->second.what;
      found->second.checked = now;  // until it is read anew, others have the old one
    }
    std::shared_ptr<page const> const made = co_await read(target);
    if (!made || made->large) {
      kept_.erase(target);
    } else {
      if (kept_.size() >= most_kept) kept_.clear();
      kept_.insert_or_assign(target, kept{made, now});
    }
    co_return made;
  }

 private:
  static constexpr std::size_t most_kept = 1000;  // of at most so many bytes each:
  static constexpr std::uint64_t small = 64 * 1024;
  static constexpr std::chrono::seconds fresh{1};  // this long a file may have changed unnoticed

  struct kept {
    std::shared_ptr<page const> what;
    std::chrono::steady_clock::time_point checked;
  };

  aio::task<std::shared_ptr<page const>> read(std::string_view target) const {
    auto const wanted = path_of(target);
    if (!wanted) co_return nullptr;
    auto const path = co_await aio::to_thread(inside, folder_, *wanted);
    if (path.empty()) co_return nullptr;
    auto file = co_await aio::file::open(path);
    auto made = std::make_shared<page>();
    made->size = co_await file.size();
    if (made->size > small) {
      made->large = std::make_shared<aio::file>(std::move(file));
    } else {
      made->content = co_await file.read(small);
      made->size = made->content.size();
    }
    made->about = about(type_of(path.extension().string()), made->size);
    co_return made;
  }

  /// Relative to the folder: without the query, "%20" as what it means, and index.html for a folder. None, if it means
  /// something else than it says.
  static std::optional<std::string> path_of(std::string_view target) {
    target = target.substr(0, target.find_first_of("?#"));
    if (target.starts_with("http://")) {  // as a proxy is asked: every server has to understand it
      auto const path = target.find('/', 7);
      target = path == target.npos ? "/" : target.substr(path);
    }
    if (!target.starts_with('/')) return std::nullopt;
    std::string path;
    for (std::size_t i = 1; i < target.size(); ++i) {
      char letter = target[i];
      if (letter == '%') {
        if (i + 2 >= target.size()) return std::nullopt;
        int const high = digit(target[i + 1]);
        int const low = digit(target[i + 2]);
        if (high < 0 || low < 0) return std::nullopt;
        letter = static_cast<char>(high * 16 + low);
        i += 2;
      }
      if (letter == '\0' || letter == '\\') return std::nullopt;
      path += letter;
    }
    if (("/" + path + "/").find("/../") != path.npos || path.starts_with('/')) return std::nullopt;
    if (path.empty() || path.ends_with('/')) path += "index.html";
    return path;
  }
  static int digit(char letter) {
    if (letter >= '0' && letter <= '9') return letter - '0';
    if (letter >= 'a' && letter <= 'f') return letter - 'a' + 10;
    if (letter >= 'A' && letter <= 'F') return letter - 'A' + 10;
    return -1;
  }

  /// In another thread: where it is, symbolic links followed; empty, if that is not below the folder, or no file.
  static std::filesystem::path inside(std::filesystem::path const& folder, std::string const& path) {
    std::error_code error;
    auto const where = std::filesystem::canonical(folder / path, error);
    if (error || !std::filesystem::is_regular_file(where, error)) return {};
    auto const relative = where.lexically_relative(folder);
    return relative.empty() || *relative.begin() == ".." ? std::filesystem::path() : where;
  }
  static std::string type_of(std::string_view extension) {
    static constexpr std::pair<std::string_view, char const*> known[] = {
        {".html", "text/html; charset=utf-8"},
        {".txt", "text/plain; charset=utf-8"},
        {".css", "text/css; charset=utf-8"},
        {".js", "text/javascript; charset=utf-8"},
        {".json", "application/json"},
        {".svg", "image/svg+xml"},
        {".png", "image/png"},
        {".jpg", "image/jpeg"},
        {".wasm", "application/wasm"},
        {".pdf", "application/pdf"},
    };
    for (auto const& [each, type] : known) {
      if (each == extension) return type;
    }
    return "application/octet-stream";
  }

  std::filesystem::path folder_;
  std::unordered_map<std::string, kept> kept_;
};
