// A progress bar on standard error for long work; silent where that is no terminal.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>

namespace flashmla::tools {

class Progress {
 public:
  Progress(std::string title, std::int64_t total);
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;
  ~Progress();  // clears the line

  void advance(std::int64_t amount = 1);

 private:
  void draw();

  std::string title_;
  std::int64_t total_;
  std::int64_t done_ = 0;
  bool terminal_;
  std::chrono::steady_clock::time_point drawn_;
  std::chrono::steady_clock::time_point started_;
};

}  // namespace flashmla::tools
