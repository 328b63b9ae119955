#include "attributes.h"

#include <nanobind/stl/string.h>

#include <string>

#include "gil.h"

namespace nb = nanobind;

namespace flashmla::python {

namespace {

PyObject* get(PyObject* object, PyObject* name) {
  return unless_python_ends([=] { return PyObject_GetAttr(object, name); });
}

}  // namespace

const Names& names() {
  // NOTE: the names are never released, since the interpreter may be gone by then.
  static const Names all{
      .array_interface = PyUnicode_InternFromString("__array_interface__"),
      .cuda_array_interface = PyUnicode_InternFromString("__cuda_array_interface__"),
      .data_ptr = PyUnicode_InternFromString("data_ptr"),
      .device = PyUnicode_InternFromString("device"),
      .dlpack = PyUnicode_InternFromString("__dlpack__"),
      .dlpack_exchange = PyUnicode_InternFromString("__dlpack_c_exchange_api__"),
      .dtype = PyUnicode_InternFromString("dtype"),
      .get_device = PyUnicode_InternFromString("get_device"),
      .get_mask = PyUnicode_InternFromString("get_mask"),
      .is_cpu = PyUnicode_InternFromString("is_cpu"),
      .is_cuda = PyUnicode_InternFromString("is_cuda"),
      .is_inference = PyUnicode_InternFromString("is_inference"),
      .is_neg = PyUnicode_InternFromString("is_neg"),
      .layout = PyUnicode_InternFromString("layout"),
      .mask = PyUnicode_InternFromString("mask"),
      .name = PyUnicode_InternFromString("name"),
      .requires_grad = PyUnicode_InternFromString("requires_grad"),
      .shape = PyUnicode_InternFromString("shape"),
      .stride = PyUnicode_InternFromString("stride"),
      .version = PyUnicode_InternFromString("_version"),
  };
  return all;
}

nb::object attribute(PyObject* object, PyObject* name) {
  PyObject* const value = get(object, name);
  if (value == nullptr)
    throw nb::python_error();
  return nb::steal(value);
}

bool has_attribute(PyObject* object, PyObject* name) {
  PyObject* const value = get(object, name);
  if (value == nullptr)
    PyErr_Clear();
  Py_XDECREF(value);
  return value != nullptr;
}

bool flag(PyObject* object, PyObject* name) {
  return flag(attribute(object, name));
}

bool flag(const nb::object& value) {
  if (value.ptr() == Py_True)
    return true;
  if (value.ptr() == Py_False)
    return false;
  const int truth = unless_python_ends([&] { return PyObject_IsTrue(value.ptr()); });
  if (truth < 0)
    throw nb::python_error();
  return truth != 0;
}

nb::object call(PyObject* object, PyObject* method) {
  PyObject* arguments[] = {object};
  PyObject* const value = unless_python_ends([&] {
    return PyObject_VectorcallMethod(method, arguments, 1 | PY_VECTORCALL_ARGUMENTS_OFFSET,
                                     nullptr);
  });
  if (value == nullptr)
    throw nb::python_error();
  return nb::steal(value);
}

std::int64_t integer(nb::handle value) {
  const long long number = PyLong_AsLongLong(value.ptr());
  if (number == -1 && PyErr_Occurred() != nullptr)
    throw nb::python_error();
  return number;
}

std::uintptr_t address(nb::handle value) {
  const unsigned long long number = PyLong_AsUnsignedLongLong(value.ptr());
  if (number == static_cast<unsigned long long>(-1) && PyErr_Occurred() != nullptr)
    throw nb::python_error();
  return number;
}

std::string type_text(nb::handle object) {
  const nb::handle type = object.type();
  const std::string module = nb::cast<std::string>(nb::str(type.attr("__module__")));
  const std::string name = nb::cast<std::string>(nb::str(type.attr("__qualname__")));
  return module == "builtins" ? name : module + "." + name;
}

}  // namespace flashmla::python
