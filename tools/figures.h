// Figures as people read them.
#pragma once

#include <cstdint>
#include <span>
#include <string>

namespace flashmla::tools {

// "999 B", "1.50 KiB", "24.0 GiB".
std::string bytes_text(double bytes);

// "850 ns", "12.3 us", "4.56 ms", "1.20 s".
std::string seconds_text(double seconds);

// What repeated measurements say. Quantiles between two values are interpolated linearly.
struct Spread {
  double median = 0;
  double lower_quartile = 0;
  double upper_quartile = 0;
  double least = 0;
  double most = 0;
  std::int64_t count = 0;
};

// The spread of `values`; all zero where there are none.
Spread spread_of(std::span<const double> values);

}  // namespace flashmla::tools
