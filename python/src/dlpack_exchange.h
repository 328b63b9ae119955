// DLPack 1.2's exchange functions: the fields of a tensor without a capsule for each.
#pragma once

#include <Python.h>
#include <nanobind/ndarray.h>

namespace flashmla::python {

// Fills the fields of a tensor, which keeps owning what they point to. −1 with a Python error set
// where it cannot.
using ReadExchange = int (*)(void* object, nanobind::dlpack::dltensor* fields);

// What the type offers; null where it does not, or in a version that we do not know.
ReadExchange exchange_of(PyObject* type);

}  // namespace flashmla::python
