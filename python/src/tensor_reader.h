// Python objects as tensor views: nothing is copied, moved or synchronised.
//
//   PyTorch's tensors (and what has the same attributes) by DLPack's exchange functions where the
//   type has them (PyTorch 2.10), else by attributes: data_ptr(), shape, stride()
//   NumPy's arrays by __array_interface__, CuPy's and Numba's by __cuda_array_interface__
//   all others by __dlpack__
//
// A view holds no reference: the object must outlive the call.
#pragma once

#include <nanobind/nanobind.h>

#include <optional>

#include "flashmla/tensor_view.h"

namespace flashmla::python {

struct Reading {
  const char* argument;             // its name in messages
  std::optional<DType> words = {};  // what uint16 elements are; not allowed where absent
  bool written = false;             // an output
};

// None gives a view that is not given. Raises TypeError on what is no tensor, ValueError on a type,
// device or rank that the library does not have, on a tensor that requires grad while gradients
// are recorded, and on an output that may not be written.
TensorView read_tensor(nanobind::handle object, const Reading& reading);

// The same where None is an error.
TensorView require_tensor(nanobind::handle object, const Reading& reading);

}  // namespace flashmla::python
