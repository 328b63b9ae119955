// Python objects as tensor views: nothing is copied, moved or synchronised.
//
//   PyTorch's tensors, and all with the same attributes: by DLPack's exchange functions where the
//     type has them (PyTorch 2.10 and later), else by data_ptr(), shape and stride()
//   NumPy's arrays: by __array_interface__
//   CuPy's and Numba's arrays: by __cuda_array_interface__
//   all others: by __dlpack__
//
// A view holds no reference: the object must outlive the call.
#pragma once

#include <nanobind/nanobind.h>

#include <optional>

#include "flashmla/tensor_view.h"

namespace flashmla::python {

struct Reading {
  const char* argument;             // the tensor's name in messages
  std::optional<DType> words = {};  // what uint16 elements stand for; refused where absent
  bool written = false;             // the tensor is an output
};

// The view of a tensor; of None, a view whose given() is false. Raises TypeError on an object that
// is no tensor. Raises ValueError on a type, device or rank that the library does not have, on a
// tensor that requires grad while gradients are recorded, and on an output that may not be written.
TensorView read_tensor(nanobind::handle object, const Reading& reading);

// The same where None is an error.
TensorView require_tensor(nanobind::handle object, const Reading& reading);

}  // namespace flashmla::python
