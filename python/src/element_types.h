// Element types by the names and numbers that libraries give them.
#pragma once

#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>

#include <string_view>

#include "tensor_reader.h"

namespace flashmla::python {

// The type of a name such as "bfloat16" or "float32". Raises ValueError where the library has no
// such type.
DType type_named(std::string_view name, const Reading& reading);

// The type of a dtype object: of PyTorch's, whose text ends in the name, or of an array library's,
// which has an attribute `name`.
DType torch_type(nanobind::handle dtype, const Reading& reading);
DType array_type(nanobind::handle dtype, const Reading& reading);

DType dlpack_type(const nanobind::dlpack::dtype& type, const Reading& reading);

// Whether a framework can record gradients of such elements, or put off their negation.
bool is_floating(DType type);

}  // namespace flashmla::python
