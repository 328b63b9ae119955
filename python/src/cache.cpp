// Cache helpers and merging for Python.
#include <nanobind/nanobind.h>
#include <nanobind/stl/string.h>

#include <string>
#include <vector>

#include "bindings.h"
#include "errors.h"
#include "flashmla/kv_cache.h"
#include "flashmla/merge.h"
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

void gather_rows(nb::handle cache, const std::string& format, nb::handle slots, nb::handle rows,
                 std::uintptr_t stream) {
  const KvFormat kv_format = format_named(format, "format");
  const TensorView from = require_tensor(cache, {.argument = "cache"});
  const TensorView where = require_tensor(slots, {.argument = "slots"});
  const TensorView to = require_tensor(rows, {.argument = "rows", .written = true});
  const ReleaseGil released(from.device);
  gather(from, kv_format, where, to, pointer(stream));
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

void merge_parts(const nb::list& outs, const nb::list& lses, nb::handle attn_sink, nb::handle out,
                 nb::handle lse, std::uintptr_t stream) {
  std::vector<PartialResult> parts(outs.size());
  for (std::size_t i = 0; i < parts.size(); ++i) {
    const std::string part = "[" + std::to_string(i) + "]";
    parts[i].out = require_tensor(outs[i], {.argument = ("outs" + part).c_str()});
    parts[i].lse = require_tensor(lses[i], {.argument = ("lses" + part).c_str()});
  }
  const TensorView sink = read_tensor(attn_sink, {.argument = "attn_sink"});
  const TensorView to = require_tensor(out, {.argument = "out", .written = true});
  const TensorView to_lse = require_tensor(lse, {.argument = "lse", .written = true});
  const ReleaseGil released(to.device);
  merge(parts, sink, {.out = to, .lse = to_lse}, pointer(stream));
}

}  // namespace

void bind_cache(nb::module_& module) {
  module.def("append", &append_rows, "cache"_a.none(), "format"_a, "rows"_a.none(),
             "slots"_a.none(), "stream"_a);
  module.def("gather", &gather_rows, "cache"_a.none(), "format"_a, "slots"_a.none(),
             "rows"_a.none(), "stream"_a);
  module.def("quantise", &quantise_cache, "plain"_a.none(), "cache"_a.none(), "format"_a,
             "stream"_a);
  module.def("dequantise", &dequantise_cache, "cache"_a.none(), "format"_a, "plain"_a.none(),
             "stream"_a);
  module.def("merge", &merge_parts, "outs"_a, "lses"_a, "attn_sink"_a.none(), "out"_a.none(),
             "lse"_a.none(), "stream"_a);
  module.def("token_elements", [](const std::string& format, std::int64_t qk_dim) {
    return token_elements(format_named(format, "format"), qk_dim);
  });
  module.def("format_qk_dim", [](const std::string& format) {
    return format_qk_dim(format_named(format, "format"));
  });
}

}  // namespace flashmla::python
