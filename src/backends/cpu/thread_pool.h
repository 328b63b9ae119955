// The threads of the CPU backend: started at first use, shared by all callers, usable after fork.
#pragma once

#include <cstdint>
#include <functional>

namespace flashmla::backends::cpu {

// Threads that a call uses, its caller included; 0 restores the default: FLASHMLA_NUM_THREADS, else
// the processors that the process may use. Throws Error outside 0 … 4096.
void set_threads(int threads);
int threads();

// Calls body(0 … count − 1), each once, in any order, on at most min(threads(), max_threads)
// threads (0: no further limit) of which the caller is one. Returns when all calls have returned.
// An exception stops what has not begun; the first one is rethrown. Several threads may call at a
// time; a body may call too.
void parallel_for(std::int64_t count, int max_threads,
                  const std::function<void(std::int64_t)>& body);

}  // namespace flashmla::backends::cpu
