// Random numbers as CPython's random.Random draws them, so that recipes of measurements made with
// it can be followed to the number.
#pragma once

#include <cstdint>
#include <random>

namespace flashmla::support {

class PythonRandom {
 public:
  explicit PythonRandom(std::uint64_t seed);

  // random(): uniform in [0, 1), 53 bits.
  double unit();

  // normalvariate(mean, deviation).
  double normal(double mean, double deviation);

 private:
  std::mt19937 engine_;
};

}  // namespace flashmla::support
