// A loop over several threads.
#pragma once

#include <cstdint>
#include <functional>

namespace flashmla::support {

// Calls body(0 … count − 1), each once, from as many threads as the machine has processors. The
// bodies touch distinct data. The first exception that one throws comes back to the caller.
void parallel_for(std::int64_t count, const std::function<void(std::int64_t)>& body);

// The same from `threads` threads.
void parallel_for(std::int64_t count, std::int64_t threads,
                  const std::function<void(std::int64_t)>& body);

}  // namespace flashmla::support
