#include "support/dense_library.h"

#include <algorithm>
#include <array>
#include <limits>

#include "flashmla/kv_cache.h"
#include "flashmla/merge.h"
#include "flashmla/plan.h"
#include "support/guarded_workspaces.h"

namespace flashmla::support {

namespace {

// Everything that one run takes, the sink excepted.
struct Part {
  TensorView block_table;
  TensorView lengths;
  TensorView out;
  TensorView lse;
};

void run_part(DenseTensors& tensors, const Part& part, const TensorView& sink, Memory& memory,
              CaseResult& result) {
  const DenseCase& c = tensors.dense_case;
  Plan plan = make_plan(problem_of(c, memory.device()));
  GuardedWorkspaces workspaces(plan, memory);
  plan.schedule(part.lengths, workspaces.plan());
  Inputs inputs = tensors.inputs();
  inputs.block_table = part.block_table;
  inputs.attn_sink = sink;
  run(plan, inputs, {part.out, part.lse, {}}, workspaces.run());
  workspaces.judge(plan, c.batch(), result);
}

// Lets the library write the cached rows. After the rows of each page comes a slot that the library
// has to skip.
void append_rows(DenseTensors& tensors, Memory& memory) {
  const DenseCase& c = tensors.dense_case;
  const std::vector<PageFill> fills = page_fills(c, assign_pages(c));
  std::int64_t count = 0;
  for (const PageFill& fill : fills)
    count += fill.tokens + 1;  // and one row that is skipped
  GuardedTensor rows =
      make_tensor({nullptr, c.type, {count, c.kv_heads, c.qk_dim}, memory.device()}, memory);
  GuardedTensor slots = make_tensor({nullptr, DType::i64, {count}, memory.device()}, memory);
  const auto row_numbers = rows.buffer.image_as<std::uint16_t>();
  const auto slot_numbers = slots.buffer.image_as<std::int64_t>();
  const auto cache_numbers = tensors.kv_cache.buffer.image_as<std::uint16_t>();
  std::int64_t i = 0;
  for (const PageFill& fill : fills) {
    for (std::int64_t token = 0; token < fill.tokens; ++token, ++i) {
      slot_numbers[i] = fill.page * c.page_size + token;
      for (std::int64_t head = 0; head < c.kv_heads; ++head)
        std::copy_n(
            cache_numbers.begin() + offset_of(tensors.kv_cache.view, {fill.page, token, head, 0}),
            c.qk_dim, row_numbers.begin() + (i * c.kv_heads + head) * c.qk_dim);
    }
    slot_numbers[i++] = fill.page % 2 == 0 ? -1 : std::numeric_limits<std::int64_t>::max();
  }
  rows.buffer.upload();
  slots.buffer.upload();

  // Uploads the cache without its rows in the place of the whole one.
  std::vector<std::uint16_t> empty(cache_numbers.size());
  poison(c.type, empty);
  memory.upload(tensors.kv_cache.buffer.data(), std::as_bytes(std::span(empty)));
  append(tensors.kv_cache.view, c.type == DType::fp16 ? KvFormat::fp16 : KvFormat::bf16, rows.view,
         slots.view);
}

// Half of the pages that a request has tokens in.
std::int64_t first_pages(const DenseCase& c, std::int64_t request) {
  return (c.lengths[request] + c.page_size - 1) / c.page_size / 2;
}

void run_merged(DenseTensors& tensors, Memory& memory, CaseResult& result) {
  const DenseCase& c = tensors.dense_case;
  const Device device = memory.device();
  const auto table = tensors.block_table.buffer.image_as<std::int32_t>();
  const TensorView contiguous{
      nullptr, c.type, {c.batch(), c.query_tokens, c.query_heads, c.v_dim}, device};
  std::vector<GuardedTensor> kept;
  std::array<PartialResult, 2> parts;
  for (const int half : {0, 1}) {
    GuardedTensor lengths = make_tensor({nullptr, DType::i32, {c.batch()}, device}, memory);
    GuardedTensor pages = make_tensor(tensors.block_table.view, memory);
    std::ranges::copy(table, pages.buffer.image_as<std::int32_t>().begin());
    for (std::int64_t r = 0; r < c.batch(); ++r) {
      const std::int64_t first = first_pages(c, r);
      const std::int32_t length = c.lengths[r];
      const auto before = static_cast<std::int32_t>(first * c.page_size);
      lengths.buffer.image_as<std::int32_t>()[r] = half == 0 ? before : length - before;
      const auto row =
          pages.buffer.image_as<std::int32_t>().begin() + offset_of(pages.view, {r, 0});
      if (half == 1)
        std::rotate(row, row + first, row + c.max_pages());
    }
    lengths.buffer.upload();
    pages.buffer.upload();
    GuardedTensor out = make_tensor(contiguous, memory);
    GuardedTensor lse = make_tensor(tensors.lse.view, memory);
    out.buffer.upload();
    lse.buffer.upload();
    run_part(tensors, {pages.view, lengths.view, out.view, lse.view}, {}, memory, result);
    parts[half] = {out.view, lse.view};
    kept.push_back(std::move(out));
    kept.push_back(std::move(lse));
  }
  merge(parts, c.sink ? tensors.attn_sink.view : TensorView(), tensors.outputs());
  memory.wait();
}

}  // namespace

void run_library(DenseTensors& tensors, Memory& memory, CaseResult& result) {
  if (tensors.dense_case.appended)
    append_rows(tensors, memory);
  if (tensors.dense_case.merged) {
    run_merged(tensors, memory, result);
    return;
  }
  run_part(tensors,
           {tensors.block_table.view, tensors.lengths.view, tensors.out.view, tensors.lse.view},
           tensors.inputs().attn_sink, memory, result);
}

}  // namespace flashmla::support
