// Python's lock (the GIL), and threads that are in a call when the interpreter ends.
//
// CPython before 3.14 ends a daemon thread that waits for the lock then: it unwinds the thread's
// stack. That must not reach our frames, whose destructors may not be unwound through, and which
// would give up references without the lock. The thread is parked instead, as 3.14 does: it waits
// until the process is gone.
#pragma once

#include <Python.h>

#include "flashmla/tensor_view.h"

namespace flashmla::python {

// Waits for ever.
[[noreturn]] void park();

// A call of Python's C functions that may run Python code or wait for the lock. These functions
// throw nothing: what comes out of one is the unwinding of a thread.
template <class Function>
auto unless_python_ends(const Function& function) {
  try {
    return function();
  } catch (...) {
    park();
  }
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
      unless_python_ends([this] { PyEval_RestoreThread(state_); });
  }

 private:
  PyThreadState* state_;
};

}  // namespace flashmla::python
