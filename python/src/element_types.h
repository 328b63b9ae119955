// Types of elements by the names and numbers that libraries give them.
#pragma once

#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>

#include <string_view>

#include "tensor_reader.h"

namespace flashmla::python {

// "bfloat16", "float32" and so on. Raises ValueError on what the library does not have.
DType type_named(std::string_view name, const Reading& reading);

// A dtype object: PyTorch's, whose text ends in the name, or one with an attribute `name`.
DType torch_type(nanobind::handle dtype, const Reading& reading);
DType array_type(nanobind::handle dtype, const Reading& reading);

DType dlpack_type(const nanobind::dlpack::dtype& type, const Reading& reading);

// Whether a framework can record gradients of such elements, or change their signs lazily.
bool is_floating(DType type);

}  // namespace flashmla::python
