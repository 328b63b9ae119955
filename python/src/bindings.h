// The parts of the extension. Each function bind_… adds its names to the module.
#pragma once

#include <nanobind/nanobind.h>

#include <cstdint>
#include <string>

#include "flashmla/decode.h"
#include "flashmla/kv_format.h"
#include "flashmla/tensor_view.h"

namespace flashmla::python {

void bind_plan(nanobind::module_& module);
void bind_cache(nanobind::module_& module);

// The type or format of a name such as "bf16".
DType dtype_named(const std::string& name, const char* argument);
KvFormat format_named(const std::string& name, const char* argument);

// Sets the form of lse and max_logits. base_two: logarithms are to base 2 instead of natural.
// empty_minus: lse is −inf instead of +inf where a query sees no token.
void set_lse_form(Outputs& outputs, bool base_two, bool empty_minus);

inline void* pointer(std::uintptr_t number) {
  return reinterpret_cast<void*>(number);
}

}  // namespace flashmla::python
