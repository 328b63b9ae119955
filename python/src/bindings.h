// The parts of the extension: each adds its names to the module.
#pragma once

#include <nanobind/nanobind.h>

#include <cstdint>
#include <string>

#include "flashmla/kv_format.h"
#include "flashmla/tensor_view.h"

namespace flashmla::python {

void bind_plan(nanobind::module_& module);
void bind_cache(nanobind::module_& module);

// "bf16" and so on.
DType dtype_named(const std::string& name, const char* argument);
KvFormat format_named(const std::string& name, const char* argument);

inline void* pointer(std::uintptr_t number) {
  return reinterpret_cast<void*>(number);
}

}  // namespace flashmla::python
