// The library's messages for Python.
#pragma once

#include <nanobind/nanobind.h>

namespace flashmla::python {

void bind_log(nanobind::module_& module);

}  // namespace flashmla::python
