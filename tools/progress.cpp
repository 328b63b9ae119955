#include "tools/progress.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <utility>

#include "tools/figures.h"

namespace flashmla::tools {

namespace {

constexpr std::chrono::milliseconds redraw_interval{100};
constexpr std::int64_t bar_cells = 30;

// Carriage return, then "erase to the end of the line".
constexpr const char* clear_line = "\r\x1b[K";

}  // namespace

Progress::Progress(std::string title, std::int64_t total)
    : title_(std::move(title)),
      total_(std::max<std::int64_t>(1, total)),
      terminal_(::isatty(STDERR_FILENO) == 1),
      started_(std::chrono::steady_clock::now()) {
  draw();
}

Progress::~Progress() {
  if (!terminal_)
    return;
  std::fputs(clear_line, stderr);
  std::fflush(stderr);
}

void Progress::advance(std::int64_t amount) {
  done_ += amount;
  if (terminal_ && std::chrono::steady_clock::now() - drawn_ >= redraw_interval)
    draw();
}

void Progress::draw() {
  drawn_ = std::chrono::steady_clock::now();
  if (!terminal_)
    return;
  const double part =
      std::clamp(static_cast<double>(done_) / static_cast<double>(total_), 0.0, 1.0);
  const auto filled = static_cast<std::int64_t>(part * bar_cells);
  const double elapsed = std::chrono::duration<double>(drawn_ - started_).count();
  const std::string left = part > 0 && part < 1
                               ? fmt::format(", {} left", seconds_text(elapsed * (1 - part) / part))
                               : std::string();
  const std::string line = fmt::format("{}{} [{:#<{}}{: <{}}] {:3.0f} %{}", clear_line, title_, "",
                                       filled, "", bar_cells - filled, part * 100, left);
  std::fputs(line.c_str(), stderr);
  std::fflush(stderr);
}

}  // namespace flashmla::tools
