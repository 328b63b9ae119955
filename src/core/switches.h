// All environment variables that the library reads. A function reads its variable at each call.
#pragma once

#include <optional>
#include <string>

namespace flashmla::switches {

// FLASHMLA_BACKEND: names of the backends that may be used, separated by commas. A call of another
// device is refused; data never move between devices.
std::optional<std::string> backend();

// FLASHMLA_NUM_THREADS: the number of threads of the CPU backend, 1 … 4096. Throws Error on another
// value.
std::optional<int> num_threads();

// FLASHMLA_CPU_ISA: the instruction set of the CPU backend ("baseline", "avx2", "avx512"), for
// tests and comparisons. The first run throws Error where the processor or the build does not have
// it.
std::optional<std::string> cpu_isa();

}  // namespace flashmla::switches
