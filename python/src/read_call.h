// Reads the object Call, by which the Python files describe one attention call.
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

// The tensors and options of a flash_mla._call.Call. `words`: what uint16 elements of q, out and
// the caches stand for; such tensors are refused where it is absent. The views hold no reference,
// so the Call has to keep its tensors until the library has returned.
Tensors read_call(nanobind::handle call, std::optional<DType> words);

}  // namespace flashmla::python
