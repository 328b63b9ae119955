// What the machine can do at best, measured in place: the yardstick of `bench` and `replay`.
#pragma once

#include "flashmla/tensor_view.h"

namespace flashmla::tools {

struct Roofline {
  double bytes_per_second;  // streaming read of memory well beyond the caches, all threads or SMs
  double flop_per_second;   // multiply-adds on registers in the arithmetic that the backend uses
};

// Takes about half a second; on the CPU with the threads of flashmla::cpu_threads(). Throws Error
// of code `unsupported` for a device that this build or machine does not have.
Roofline measure_roofline(const Device& device);

}  // namespace flashmla::tools
