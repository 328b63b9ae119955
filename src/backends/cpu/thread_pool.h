// The threads of the CPU backend. They start at first use. All callers share them. After a fork the
// child starts its own.
#pragma once

#include <cstdint>
#include <functional>

namespace flashmla::backends::cpu {

// The number of threads of a call, which includes the calling thread. 0 restores the default:
// FLASHMLA_NUM_THREADS, or without it the number of processors that the process may use. Throws
// Error outside 0 … 4096.
void set_threads(int threads);
int threads();

// Calls body(0), …, body(count − 1) in any order, on at most threads() threads and at most
// max_threads of them (0: no further limit). The calling thread is one of them. Returns when all
// calls have returned. After an exception no further call begins, and the first exception is thrown
// again. Several threads may use this function at the same time, and a body may use it too.
void parallel_for(std::int64_t count, int max_threads,
                  const std::function<void(std::int64_t)>& body);

}  // namespace flashmla::backends::cpu
