// One call of attention: Python's object Call as what the library takes.
#pragma once

#include <nanobind/nanobind.h>

#include <optional>

#include "flashmla/decode.h"
#include "flashmla/tensor_view.h"

namespace flashmla::python {

struct Tensors {
  Inputs inputs;
  Outputs outputs;
};

// Reads a flash_mla._call.Call. `words`: what uint16 elements of q, out and the caches are; such
// tensors are refused where it is absent. The views hold no reference: the Call keeps the tensors
// alive.
Tensors read_call(nanobind::handle call, std::optional<DType> words);

}  // namespace flashmla::python
