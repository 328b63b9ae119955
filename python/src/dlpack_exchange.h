// DLPack 1.2's exchange functions: the fields of a tensor without a capsule for each.
#pragma once

#include <Python.h>
#include <nanobind/ndarray.h>

#include <cstdint>

namespace flashmla::python {

// Fills the fields of a tensor, which keeps owning what they point to. −1 with a Python error set
// where it cannot.
using ReadExchange = int (*)(void* object, nanobind::dlpack::dltensor* fields);

// The current stream of a device, by DLPack's number of its type.
using CurrentStream = int (*)(int device_type, std::int32_t device_index, void** stream);

inline constexpr int dlpack_cuda = 2;

struct Exchange {
  ReadExchange read = nullptr;
  CurrentStream current_stream = nullptr;
};

// What the type offers; nothing where it does not, or in a version that we do not know.
Exchange exchange_of(PyObject* type);

}  // namespace flashmla::python
