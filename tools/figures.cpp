#include "tools/figures.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <vector>

namespace flashmla::tools {

namespace {

// Three significant digits where value ≥ 1.
std::string three_digits(double value) {
  return fmt::format("{:.{}f}", value, value < 10 ? 2 : value < 100 ? 1 : 0);
}

double quantile(std::span<const double> sorted, double fraction) {
  const double place = fraction * static_cast<double>(sorted.size() - 1);
  const auto below = static_cast<std::size_t>(std::floor(place));
  const std::size_t above = std::min(below + 1, sorted.size() - 1);
  return std::lerp(sorted[below], sorted[above], place - std::floor(place));
}

}  // namespace

std::string bytes_text(double bytes) {
  constexpr std::array<const char*, 6> units{"B", "KiB", "MiB", "GiB", "TiB", "PiB"};
  std::size_t unit = 0;
  while (bytes >= 1024 && unit + 1 < units.size()) {
    bytes /= 1024;
    ++unit;
  }
  return unit == 0 ? fmt::format("{:.0f} B", bytes)
                   : fmt::format("{} {}", three_digits(bytes), units[unit]);
}

std::string seconds_text(double seconds) {
  if (seconds < 0.9995e-6)
    return fmt::format("{:.0f} ns", seconds * 1e9);
  if (seconds < 0.9995e-3)
    return three_digits(seconds * 1e6) + " us";
  if (seconds < 0.9995)
    return three_digits(seconds * 1e3) + " ms";
  return three_digits(seconds) + " s";
}

Spread spread_of(std::span<const double> values) {
  if (values.empty())
    return {};
  std::vector<double> sorted(values.begin(), values.end());
  std::ranges::sort(sorted);
  return {.median = quantile(sorted, 0.5),
          .lower_quartile = quantile(sorted, 0.25),
          .upper_quartile = quantile(sorted, 0.75),
          .least = sorted.front(),
          .most = sorted.back(),
          .count = static_cast<std::int64_t>(sorted.size())};
}

}  // namespace flashmla::tools
