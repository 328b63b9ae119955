// The median of measured times.
#pragma once

#include <algorithm>
#include <iterator>
#include <vector>

namespace flashmla::support {

// The middle of the values, of which there is at least one; the upper of two middle ones.
inline double median(std::vector<double> values) {
  const auto middle = values.begin() + std::ssize(values) / 2;
  std::ranges::nth_element(values, middle);
  return *middle;
}

}  // namespace flashmla::support
