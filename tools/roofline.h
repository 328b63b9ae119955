// What the machine can do at best, measured in place: the yardstick of `bench` and `replay`.
#pragma once

#include "flashmla/tensor_view.h"

namespace flashmla::tools {

struct Roofline {
  double bytes_per_second;  // streaming read of memory well beyond the caches, all threads
  double flop_per_second;   // multiply-adds on registers in the arithmetic that the backend uses
};

// Takes about half a second; the threads of flashmla::cpu_threads().
Roofline measure_roofline(const Device& device);

}  // namespace flashmla::tools
