// SPDX-License-Identifier: MIT
#pragma once

// A folder for the files and sockets of a test.

#include <stdlib.h>

#include <filesystem>
#include <stdexcept>
#include <string>
#include <system_error>

namespace aio_test {

/// Goes with all that is in it.
class temporary_folder {
 public:
  temporary_folder() {
    std::string const letters(6, 'X');  // mkdtemp() puts others in their place
    std::string name = (std::filesystem::temp_directory_path() / ("aio_" + letters)).string();
    if (!::mkdtemp(name.data())) throw std::runtime_error("there is no temporary folder");
    path_ = name;
  }
  temporary_folder(temporary_folder const&) = delete;
  ~temporary_folder() {
    aio::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }

  [[nodiscard]] std::filesystem::path const& path() const noexcept { return path_; }
  [[nodiscard]] std::filesystem::path operator/(char const* name) const { return path_ / name; }

 private:
  std::filesystem::path path_;
};

}  // namespace aio_test
