// DLPack 1.2's exchange functions, which show a tensor without making a capsule for it.
#pragma once

#include <Python.h>
#include <nanobind/ndarray.h>

#include <cstdint>

namespace flashmla::python {

// Fills in the fields of a tensor; the tensor goes on owning the memory that they point to. Returns
// −1 with a Python error set where it fails.
using ReadExchange = int (*)(void* object, nanobind::dlpack::dltensor* fields);

// Gives the current stream of a device. device_type: DLPack's number of the device's type.
using CurrentStream = int (*)(int device_type, std::int32_t device_index, void** stream);

inline constexpr int dlpack_cuda = 2;

struct Exchange {
  ReadExchange read = nullptr;
  CurrentStream current_stream = nullptr;
};

// The functions that a type of tensors offers. Null pointers stand for a type that offers none, or
// offers them in a version of DLPack that is unknown here.
Exchange exchange_of(PyObject* type);

}  // namespace flashmla::python
