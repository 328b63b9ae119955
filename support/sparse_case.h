// A case of sparse decoding or sparse prefill: everything that defines it, and nothing that is
// large. Its tensors follow from it (sparse_generate.h).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "flashmla/problem.h"
#include "support/case.h"

namespace flashmla::support {

// How the entries of a list that name no token lie in it.
enum class Holes {
  scattered,  // by invalid_share
  runs,       // up to hundreds in a row, among which a single entry may name a token
  tail,       // all behind the first few entries, as where a context is shorter than topk
  all,        // no entry names a token
};

struct SparseCase {
  std::uint64_t seed = 0;  // of all numbers in the tensors

  AttentionKind kind = AttentionKind::sparse_decode;
  KvFormat format = KvFormat::bf16;
  std::int64_t batch = 1;         // 1 in prefill
  std::int64_t query_tokens = 1;  // s_q
  std::int64_t query_heads = 1;   // h_q
  std::int64_t qk_dim = 576;
  std::int64_t v_dim = 512;
  std::int64_t page_size = 64;  // prefill: 1
  std::int64_t num_pages = 1;   // prefill: s_kv
  std::int64_t topk = 1;
  std::int64_t extra_topk = 0;  // 0: no extra cache
  std::int64_t extra_page_size = 0;
  std::int64_t extra_pages = 0;

  bool topk_length = false;
  bool extra_topk_length = false;
  bool empty_lists = false;  // some lists count no entry
  bool distinct = false;     // a list names a slot again only after all others
  Holes holes = Holes::scattered;
  double invalid_share = 0;     // of the entries: slots that are none
  double poisoned_share = 0;    // of the slots: NaN, which no counted entry names
  bool other_scales = false;    // FP8: by the other rule in use for the format
  bool hostile_scales = false;  // FP8: zero, subnormal, negative, huge ones among the others
  bool nan_rows = false;        // some rows that counted entries name hold NaN
  std::int32_t magnitude = 0;   // cached numbers are 2^magnitude times unit scale
  bool sink = false;
  bool max_logits = true;  // prefill: asked for
  std::optional<float> softmax_scale;
  float common = 0;  // as in dense cases
  bool batch_invariant = false;
  std::int32_t max_workers = 0;

  // Where 0, all slots that are not poisoned may be listed; else a choice of about so many.
  std::int64_t live_slots = 0;

  // Memory, in elements (FP8 caches: bytes). A padding is added to the stride of every dimension
  // but the last; of an FP8 cache to that of the pages alone. A gap is added to that of the pages.
  std::int64_t q_padding = 0;
  std::int64_t cache_padding = 0;
  std::int64_t out_padding = 0;
  std::int64_t index_padding = 0;
  std::int64_t page_gap = 0;
  bool aligned = false;  // strides of q and pages are whole multiples of 16 bytes, as GPUs want

  bool prefill() const { return kind == AttentionKind::sparse_prefill; }
  std::int64_t rows() const { return batch * query_tokens * query_heads; }
  std::int64_t row_entries() const { return rows() * (topk + extra_topk); }
};

Problem problem_of(const SparseCase& sparse_case, const Device& device);

// One line.
std::string describe(const SparseCase& sparse_case);

// As for dense cases.
std::vector<CaseOption> options_of(const SparseCase& sparse_case);

}  // namespace flashmla::support
