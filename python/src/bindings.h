// The parts of the extension: each adds its names to the module.
#pragma once

#include <nanobind/nanobind.h>

#include <cstdint>
#include <string>

#include "flashmla/kv_format.h"
#include "flashmla/tensor_view.h"

namespace flashmla::python {

void bind_plan(nanobind::module_& module);
void bind_cache(nanobind::module_& module);

// "bf16" and so on.
DType dtype_named(const std::string& name, const char* argument);
KvFormat format_named(const std::string& name, const char* argument);

inline void* pointer(std::uintptr_t number) {
  return reinterpret_cast<void*>(number);
}

// Lets other threads of Python run while the CPU computes. A call on a GPU only launches: there,
// giving up the lock would cost more than the call.
class ReleaseGil {
 public:
  explicit ReleaseGil(const Device& device)
      : state_(device.type == DeviceType::cpu ? PyEval_SaveThread() : nullptr) {}
  ReleaseGil(const ReleaseGil&) = delete;
  ReleaseGil& operator=(const ReleaseGil&) = delete;
  ~ReleaseGil() {
    if (state_ != nullptr)
      PyEval_RestoreThread(state_);
  }

 private:
  PyThreadState* state_;
};

}  // namespace flashmla::python
