// Python's lock (the GIL), and threads that are in a call when the interpreter ends.
//
// CPython before 3.14 ends a daemon thread that waits for the lock at that time: it unwinds the
// thread's stack. The unwinding must not reach the frames of this extension, whose destructors
// would give up references without the lock. The thread is parked instead, as 3.14 does: it waits
// until the process is gone.
#pragma once

#include <Python.h>

#include "flashmla/tensor_view.h"

namespace flashmla::python {

// Waits until the process ends.
[[noreturn]] void park();

// Calls a C function of Python that may run Python code or wait for the lock. These functions throw
// nothing, so that an exception can only be the unwinding of a thread.
template <class Function>
auto unless_python_ends(const Function& function) {
  try {
    return function();
  } catch (...) {
    park();
  }
}

// Gives up the lock while the CPU computes, so that other threads of Python run. A call on a GPU
// keeps the lock: it only launches kernels, and giving up the lock would take longer than the call.
class ReleaseGil {
 public:
  explicit ReleaseGil(const Device& device)
      : state_(device.type == DeviceType::cpu ? PyEval_SaveThread() : nullptr) {}
  ReleaseGil(const ReleaseGil&) = delete;
  ReleaseGil& operator=(const ReleaseGil&) = delete;
  ~ReleaseGil() {
    if (state_ != nullptr)
      unless_python_ends([this] { PyEval_RestoreThread(state_); });
  }

 private:
  PyThreadState* state_;
};

}  // namespace flashmla::python
