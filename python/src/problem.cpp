#include "problem.h"

#include <nanobind/stl/string.h>

#include <cstdint>
#include <string>

#include "attributes.h"
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

// The fields that are given. A value whose field is not given stays as it is.
class Fields {
 public:
  explicit Fields(const nb::dict& fields) : fields_(fields) {}

  void number(const char* name, std::int64_t& value) const {
    if (!fields_.contains(name))
      return;
    const nb::object given = fields_[name];
    if (PyBool_Check(given.ptr()) != 0 || PyIndex_Check(given.ptr()) == 0)
      type_error(name, "a " + type_text(given), "an integer");
    const nb::object integer = nb::steal(PyNumber_Index(given.ptr()));
    if (!integer.is_valid())
      throw nb::python_error();
    if (!nb::try_cast(integer, value))
      value_error(name, "an integer of more than 64 bits", "one of at most 64");
  }

  void truth(const char* name, bool& value) const {
    if (!fields_.contains(name))
      return;
    const nb::object given = fields_[name];
    if (PyBool_Check(given.ptr()) == 0)
      type_error(name, "a " + type_text(given), "True or False");
    value = given.ptr() == Py_True;
  }

  std::string text(const char* name) const {
    std::string value;
    if (!nb::try_cast(fields_[name], value))
      type_error(name, "a " + type_text(nb::object(fields_[name])), "a name");
    return value;
  }

 private:
  const nb::dict& fields_;
};

}  // namespace

Problem problem_of(const nb::dict& fields, const Device& device) {
  Problem p;
  p.device = device;
  const Fields given(fields);
  p.kind = kind_named(given.text("kind"));
  p.query_type = dtype_named(given.text("dtype"), "dtype");
  p.kv_format = format_named(given.text("kv_format"), "kv_format");
  given.number("batch", p.batch);
  given.number("query_tokens", p.query_tokens);
  given.number("query_heads", p.query_heads);
  given.number("kv_heads", p.kv_heads);
  given.number("qk_dim", p.qk_dim);
  given.number("v_dim", p.v_dim);
  given.number("page_size", p.page_size);
  given.number("max_pages", p.max_pages);
  given.number("topk", p.topk);
  given.number("extra_topk", p.extra_topk);
  given.number("extra_page_size", p.extra_page_size);
  given.truth("causal", p.causal);
  given.truth("batch_invariant", p.batch_invariant);
  given.truth("split_query", p.split_query);
  std::int64_t workers = 0;
  given.number("max_workers", workers);
  if (workers < 0 || workers > 65536)
    value_error("max_workers", std::to_string(workers), "a value from 0 to 65536");
  p.max_workers = static_cast<std::int32_t>(workers);
  return p;
}

}  // namespace flashmla::python
