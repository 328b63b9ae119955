#include "log.h"

#include <memory>
#include <string_view>
#include <utility>

#include "flashmla/backends.h"
#include "gil.h"

namespace nb = nanobind;

namespace flashmla::python {

namespace {

// Python's lock, in a thread that may have it or not.
class HoldGil {
 public:
  HoldGil() : state_(PyGILState_Ensure()) {}
  HoldGil(const HoldGil&) = delete;
  HoldGil& operator=(const HoldGil&) = delete;
  ~HoldGil() { PyGILState_Release(state_); }

 private:
  PyGILState_STATE state_;
};

// Calls a function under the lock, where there is an interpreter. A thread that ends in the
// function is parked there: the lock's destructor must not run without the lock.
template <class Function>
void with_gil(const Function& function) {
  if (Py_IsInitialized() == 0)
    return;
  unless_python_ends([&] {
    const HoldGil lock;
    unless_python_ends(function);
  });
}

// A callable of Python, which lives as long as the callback or a thread that is in it.
class Callable {
 public:
  explicit Callable(nb::object function) : function_(function.release().ptr()) {}
  Callable(const Callable&) = delete;
  Callable& operator=(const Callable&) = delete;

  // Without an interpreter the reference is lost, as all of its objects are.
  ~Callable() {
    with_gil([this] { Py_DECREF(function_); });
  }

  void operator()(std::string_view message) const {
    with_gil([&] { call(message); });
  }

 private:
  // An exception of the callable is Python's to report: the call that logs goes on.
  void call(std::string_view message) const {
    PyObject* text =
        PyUnicode_DecodeUTF8(message.data(), static_cast<Py_ssize_t>(message.size()), "replace");
    PyObject* result =
        text == nullptr ? nullptr : PyObject_CallFunctionObjArgs(function_, text, nullptr);
    if (result == nullptr)
      PyErr_WriteUnraisable(function_);
    Py_XDECREF(result);
    Py_XDECREF(text);
  }

  PyObject* function_;
};

void set_log(nb::object callback) {
  if (callback.is_none())
    return set_log_callback({});
  const auto callable = std::make_shared<const Callable>(std::move(callback));
  set_log_callback([callable](std::string_view message) { (*callable)(message); });
}

}  // namespace

void bind_log(nb::module_& module) {
  module.def("set_log", &set_log, nb::arg("callback").none());
}

}  // namespace flashmla::python
