#include "problem.h"

#include <nanobind/stl/string.h>

#include <cstdint>
#include <string>

#include "bindings.h"
#include "errors.h"

namespace nb = nanobind;

namespace flashmla::python {

namespace {

AttentionKind kind_named(const std::string& name) {
  for (const AttentionKind kind :
       {AttentionKind::dense_decode, AttentionKind::sparse_decode, AttentionKind::sparse_prefill})
    if (name_of(kind) == name)
      return kind;
  value_error("kind", name, "dense_decode, sparse_decode or sparse_prefill");
}

}  // namespace

Problem problem_of(const nb::dict& fields, const Device& device) {
  Problem p;
  p.device = device;
  const auto number = [&](const char* name, std::int64_t& value) {
    if (fields.contains(name) && !nb::try_cast(fields[name], value))
      type_error(name, nb::cast<std::string>(nb::repr(fields[name])), "an integer");
  };
  const auto truth = [&](const char* name, bool& value) {
    if (fields.contains(name) && !nb::try_cast(fields[name], value))
      type_error(name, nb::cast<std::string>(nb::repr(fields[name])), "True or False");
  };
  const auto text = [&](const char* name) {
    std::string value;
    if (!nb::try_cast(fields[name], value))
      type_error(name, nb::cast<std::string>(nb::repr(fields[name])), "a name");
    return value;
  };
  p.kind = kind_named(text("kind"));
  p.query_type = dtype_named(text("dtype"), "dtype");
  p.kv_format = format_named(text("kv_format"), "kv_format");
  number("batch", p.batch);
  number("query_tokens", p.query_tokens);
  number("query_heads", p.query_heads);
  number("kv_heads", p.kv_heads);
  number("qk_dim", p.qk_dim);
  number("v_dim", p.v_dim);
  number("page_size", p.page_size);
  number("max_blocks", p.max_blocks);
  number("topk", p.topk);
  number("extra_topk", p.extra_topk);
  number("extra_page_size", p.extra_page_size);
  truth("causal", p.causal);
  truth("batch_invariant", p.batch_invariant);
  std::int64_t workers = 0;
  number("max_workers", workers);
  if (workers < 0 || workers > 65536)
    value_error("max_workers", std::to_string(workers), "a value from 0 to 65536");
  p.max_workers = static_cast<std::int32_t>(workers);
  return p;
}

}  // namespace flashmla::python
