// The backends of this build, in the order in which make_plan asks them.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "flashmla/export.h"
#include "flashmla/problem.h"

namespace flashmla {

struct BackendDescription {
  std::string name;                  // "cuda", "cpu"
  std::string unavailable;           // why it cannot be used on this machine; empty where it can
  std::vector<std::string> devices;  // its devices, one line for each
};

// All backends of the build. A backend that the environment variable FLASHMLA_BACKEND filters out
// is in the list, and `unavailable` says so.
FLASHMLA_API std::vector<BackendDescription> list_backends();

// Why the backend `backend` of list_backends() does not serve this problem. The text is empty where
// the backend serves the problem. Throws Error on an unknown name or an invalid problem.
FLASHMLA_API std::string refusal(std::string_view backend, const Problem& problem);

// The version of the library: "0.1.0".
FLASHMLA_API std::string_view version();

// The number of threads of the CPU backend, 0 … 4096. 0 restores the default: the environment
// variable FLASHMLA_NUM_THREADS, or without it the number of processors that the process may use.
// Output bits do not depend on the number of threads. Throws Error on another number.
FLASHMLA_API void set_cpu_threads(int threads);
FLASHMLA_API int cpu_threads();

// The library sends its messages to this callback and nowhere else. No callback is installed at
// first, and an empty one makes the library silent again. It is called from the threads of the
// calls, without a lock. At the first call of each kind of kernel since it was installed it is told
// what computes the call, for example
// "dense_decode bf16, cache bf16: kernel swap_ab, tiles of 16 rows in clusters of 2, on cuda:0".
using LogCallback = std::function<void(std::string_view message)>;
FLASHMLA_API void set_log_callback(LogCallback callback);

}  // namespace flashmla
