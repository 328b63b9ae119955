// The environment switches of the library: the one table. Each is read when it is asked for.
#pragma once

#include <optional>
#include <string>

namespace flashmla::switches {

// FLASHMLA_BACKEND: names of the backends that may be used, separated by commas. It filters the
// list; it never moves data between devices.
std::optional<std::string> backend();

// FLASHMLA_NUM_THREADS: threads of the CPU backend, 1 … 4096. Other values throw Error.
std::optional<int> num_threads();

// FLASHMLA_CPU_ISA: instruction set of the CPU backend ("baseline", "avx2", "avx512"), for tests
// and comparisons. One that the processor or the build lacks is an Error at the first run.
std::optional<std::string> cpu_isa();

}  // namespace flashmla::switches
