// Cache helpers and merging for Python.
#include <nanobind/nanobind.h>
#include <nanobind/stl/string.h>

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "bindings.h"
#include "errors.h"
#include "flashmla/kv_cache.h"
#include "flashmla/merge.h"
#include "gil.h"
#include "tensor_reader.h"

namespace nb = nanobind;
using namespace nb::literals;

namespace flashmla::python {

namespace {

void append_rows(nb::handle cache, const std::string& format, nb::handle rows, nb::handle slots,
                 std::uintptr_t stream) {
  const KvFormat kv_format = format_named(format, "format");
  const TensorView to = require_tensor(cache, {.argument = "cache", .written = true});
  const TensorView from = require_tensor(rows, {.argument = "rows"});
  const TensorView where = require_tensor(slots, {.argument = "slots"});
  const ReleaseGil released(to.device);
  append(to, kv_format, from, where, pointer(stream));
}

void gather_rows(nb::handle cache, const std::string& format, nb::handle slots, nb::handle out,
                 std::uintptr_t stream) {
  const KvFormat kv_format = format_named(format, "format");
  const TensorView from = require_tensor(cache, {.argument = "cache"});
  const TensorView where = require_tensor(slots, {.argument = "slots"});
  const TensorView to = require_tensor(out, {.argument = "out", .written = true});
  const ReleaseGil released(from.device);
  under_names([](const std::string& name) { return name == "rows" ? "out" : name; },
              [&] { gather(from, kv_format, where, to, pointer(stream)); });
}

void quantise_cache(nb::handle plain, nb::handle cache, const std::string& format,
                    std::uintptr_t stream) {
  const KvFormat kv_format = format_named(format, "format");
  const TensorView from = require_tensor(plain, {.argument = "plain"});
  const TensorView to = require_tensor(cache, {.argument = "cache", .written = true});
  const ReleaseGil released(from.device);
  quantise(from, to, kv_format, pointer(stream));
}

void dequantise_cache(nb::handle cache, const std::string& format, nb::handle plain,
                      std::uintptr_t stream) {
  const KvFormat kv_format = format_named(format, "format");
  const TensorView from = require_tensor(cache, {.argument = "cache"});
  const TensorView to = require_tensor(plain, {.argument = "plain", .written = true});
  const ReleaseGil released(from.device);
  dequantise(from, kv_format, to, pointer(stream));
}

// Prefill's tensors have no batch dimension: out is [s_q, h_q, d_v], and lse has two dimensions.
TensorView with_batch(TensorView view) {
  std::shift_right(view.shape.begin(), view.shape.end(), 1);
  std::shift_right(view.strides.begin(), view.strides.end(), 1);
  view.shape[0] = 1;
  view.strides[0] = 0;
  ++view.rank;
  return view;
}

TensorView as_out(const TensorView& view) {
  return view.rank == 3 ? with_batch(view) : view;
}

// The view [b, h_q, s_q] of an lse that may lie in memory as [b, s_q, h_q].
TensorView as_lse(TensorView view, bool tokens_first) {
  if (view.rank == 2)
    view = with_batch(view);
  if (tokens_first && view.rank == 3) {
    std::swap(view.shape[1], view.shape[2]);
    std::swap(view.strides[1], view.strides[2]);
  }
  return view;
}

// Python's name of a part: the library says "parts[2].lse" of lses[2].
std::string name_in_merge(const std::string& name) {
  if (!name.starts_with("parts["))
    return name;
  const std::size_t end = name.find(']') + 1;
  return (name.ends_with(".lse") ? "lses" : "outs") + name.substr(5, end - 5);
}

void merge_parts(const nb::list& outs, const nb::list& lses, nb::handle attn_sink, nb::handle out,
                 nb::handle lse, bool tokens_first, bool base_two, bool empty_minus,
                 std::uintptr_t stream) {
  std::vector<PartialResult> parts(outs.size());
  const auto read = [](const nb::list& list, const std::string& name, std::size_t i) {
    const std::string argument = name + '[' + std::to_string(i) + ']';
    return require_tensor(list[i], {.argument = argument.c_str()});
  };
  for (std::size_t i = 0; i < parts.size(); ++i) {
    parts[i].out = as_out(read(outs, "outs", i));
    parts[i].lse = as_lse(read(lses, "lses", i), tokens_first);
  }
  const TensorView sink = read_tensor(attn_sink, {.argument = "attn_sink"});
  Outputs merged;
  merged.out = as_out(require_tensor(out, {.argument = "out", .written = true}));
  merged.lse = as_lse(require_tensor(lse, {.argument = "lse", .written = true}), tokens_first);
  set_lse_form(merged, base_two, empty_minus);
  const ReleaseGil released(merged.out.device);
  under_names(name_in_merge, [&] { merge(parts, sink, merged, pointer(stream)); });
}

}  // namespace

void bind_cache(nb::module_& module) {
  module.def("append", &append_rows, "cache"_a.none(), "format"_a, "rows"_a.none(),
             "slots"_a.none(), "stream"_a);
  module.def("gather", &gather_rows, "cache"_a.none(), "format"_a, "slots"_a.none(), "out"_a.none(),
             "stream"_a);
  module.def("quantise", &quantise_cache, "plain"_a.none(), "cache"_a.none(), "format"_a,
             "stream"_a);
  module.def("dequantise", &dequantise_cache, "cache"_a.none(), "format"_a, "plain"_a.none(),
             "stream"_a);
  module.def("merge", &merge_parts, "outs"_a, "lses"_a, "attn_sink"_a.none(), "out"_a.none(),
             "lse"_a.none(), "tokens_first"_a, "base_two"_a, "empty_minus"_a, "stream"_a);
  module.def("token_elements", [](const std::string& format, std::int64_t qk_dim) {
    return token_elements(format_named(format, "format"), qk_dim);
  });
  module.def("format_qk_dim", [](const std::string& format) {
    return format_qk_dim(format_named(format, "format"));
  });
}

}  // namespace flashmla::python
