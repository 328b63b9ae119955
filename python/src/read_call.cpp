#include "read_call.h"

#include <nanobind/nanobind.h>

#include "attributes.h"
#include "bindings.h"
#include "tensor_reader.h"

namespace nb = nanobind;

namespace flashmla::python {

namespace {

// A field of the object Call. Messages call its tensor by the same name.
class Field {
 public:
  explicit Field(const char* name, bool written = false)
      : name_(name), written_(written), text_(PyUnicode_InternFromString(name)) {}

  nb::object of(nb::handle call) const { return attribute(call.ptr(), text_); }

  TensorView tensor(nb::handle call, std::optional<DType> words = {}) const {
    return read_tensor(of(call), {.argument = name_, .words = words, .written = written_});
  }

  TensorView required(nb::handle call, std::optional<DType> words = {}) const {
    return require_tensor(of(call), {.argument = name_, .words = words, .written = written_});
  }

 private:
  const char* name_;
  bool written_;
  PyObject* text_;  // NOTE: never released, since the interpreter may be gone by then
};

struct Fields {
  Field q{"q"};
  Field q_rotary{"q_rotary"};
  Field kv_cache{"kv_cache"};
  Field block_table{"block_table"};
  Field attn_sink{"attn_sink"};
  Field softmax_scale{"softmax_scale"};
  Field indices{"indices"};
  Field topk_length{"topk_length"};
  Field extra_kv_cache{"extra_kv_cache"};
  Field extra_indices{"extra_indices"};
  Field extra_topk_length{"extra_topk_length"};
  Field out{"out", true};
  Field lse{"lse", true};
  Field max_logits{"max_logits", true};
  Field base_two{"base_two"};
  Field empty_minus{"empty_minus"};
};

}  // namespace

Tensors read_call(nb::handle call, std::optional<DType> words) {
  static const Fields fields;
  Tensors tensors;
  Inputs& inputs = tensors.inputs;
  inputs.q = fields.q.required(call, words);
  inputs.q_rotary = fields.q_rotary.tensor(call, words);
  inputs.kv_cache = fields.kv_cache.required(call, words);
  inputs.block_table = fields.block_table.tensor(call);
  inputs.attn_sink = fields.attn_sink.tensor(call);
  const nb::object scale = fields.softmax_scale.of(call);
  if (!scale.is_none())
    inputs.softmax_scale = nb::cast<float>(scale);
  inputs.indices = fields.indices.tensor(call);
  inputs.topk_length = fields.topk_length.tensor(call);
  inputs.extra_kv_cache = fields.extra_kv_cache.tensor(call, words);
  inputs.extra_indices = fields.extra_indices.tensor(call);
  inputs.extra_topk_length = fields.extra_topk_length.tensor(call);
  Outputs& outputs = tensors.outputs;
  outputs.out = fields.out.required(call, words);
  outputs.lse = fields.lse.required(call);
  outputs.max_logits = fields.max_logits.tensor(call);
  set_lse_form(outputs, flag(fields.base_two.of(call)), flag(fields.empty_minus.of(call)));
  return tensors;
}

}  // namespace flashmla::python
