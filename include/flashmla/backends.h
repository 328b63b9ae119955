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
  std::string unavailable;           // why it cannot be used on this machine; empty when it can
  std::vector<std::string> devices;  // what it runs on, one line each
};

// All backends of the build, those that FLASHMLA_BACKEND filters out included (with that reason).
FLASHMLA_API std::vector<BackendDescription> list_backends();

// Why a backend of list_backends() does not serve this problem; empty when it does. Throws Error on
// an unknown name or an invalid problem.
FLASHMLA_API std::string refusal(std::string_view backend, const Problem& problem);

// "0.1.0".
FLASHMLA_API std::string_view version();

// Options of the CPU backend. Threads: 0 restores the default (FLASHMLA_NUM_THREADS, else the
// processors that the process may use). Output bits do not depend on it.
FLASHMLA_API void set_cpu_threads(int threads);
FLASHMLA_API int cpu_threads();

// Messages of the library go to this callback and nowhere else; none is installed at first.
using LogCallback = std::function<void(std::string_view message)>;
FLASHMLA_API void set_log_callback(LogCallback callback);

}  // namespace flashmla
