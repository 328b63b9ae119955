// Attributes and methods of Python objects, found by names that are made once.
#pragma once

#include <nanobind/nanobind.h>

#include <cstdint>
#include <string>

namespace flashmla::python {

struct Names {
  PyObject* array_interface;
  PyObject* cuda_array_interface;
  PyObject* data_ptr;
  PyObject* device;
  PyObject* dlpack;
  PyObject* dlpack_exchange;
  PyObject* dtype;
  PyObject* get_device;
  PyObject* get_mask;
  PyObject* is_cpu;
  PyObject* is_cuda;
  PyObject* is_inference;
  PyObject* is_neg;
  PyObject* layout;
  PyObject* mask;
  PyObject* name;
  PyObject* requires_grad;
  PyObject* shape;
  PyObject* stride;
  PyObject* version;
};

const Names& names();

// Throws nanobind::python_error where the attribute is missing.
nanobind::object attribute(PyObject* object, PyObject* name);
bool has_attribute(PyObject* object, PyObject* name);

// Whether Python takes a value for true.
bool flag(const nanobind::object& value);
bool flag(PyObject* object, PyObject* name);  // the same of an attribute

// Calls a method without arguments.
nanobind::object call(PyObject* object, PyObject* method);

std::int64_t integer(nanobind::handle value);
std::uintptr_t address(nanobind::handle value);

// The name of an object's type for messages, such as "numpy.ndarray".
std::string type_text(nanobind::handle object);

}  // namespace flashmla::python
