// The tensors of a dense case. Whatever no result may depend on is poisoned: outputs and workspaces
// hold NaN; so do paddings, cache rows past a length and pages that no request uses (NaN and Inf);
// block-table entries past a request's last page name pages that do not exist.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "flashmla/decode.h"
#include "support/case.h"
#include "support/guarded_tensor.h"

namespace flashmla::support {

class DenseTensors {
 public:
  DenseTensors(const DenseCase& dense_case, Memory& memory);

  Inputs inputs() const;
  Outputs outputs() const { return {.out = out.view, .lse = lse.view, .max_logits = {}}; }

  // Cached row `token` of a request, as it is stored.
  const std::uint16_t* cached_row(std::int64_t request, std::int64_t token, std::int64_t kv_head);
  const std::uint16_t* query_row(std::int64_t request, std::int64_t query_token, std::int64_t head);

  DenseCase dense_case;
  GuardedTensor q;                 // [b, s_q, h_q, d_qk]
  GuardedTensor kv_cache;          // [num_pages, page_size, h_kv, d_qk]
  GuardedTensor block_table;       // [b, max_pages]
  GuardedTensor lengths;           // [b]
  GuardedTensor attn_sink;         // [h_q]
  GuardedTensor out;               // [b, s_q, h_q, d_v]
  GuardedTensor lse;               // [b, h_q, s_q]
  std::vector<float> sink_values;  // [h_q]; −inf without a sink

 private:
  void fill_queries();
  void fill_block_table();
  void fill_cache();
  void fill_sinks();
};

// Pages that the requests of a case use: [b][pages of its length]; numbers below num_pages, in no
// order.
struct PageAssignment {
  std::vector<std::vector<std::int32_t>> pages;
  std::int64_t num_pages;  // at least one of them unused
};
PageAssignment assign_pages(const DenseCase& dense_case);

// The first `tokens` rows of a page hold numbers.
struct PageFill {
  std::int32_t page;
  std::int64_t tokens;
};
std::vector<PageFill> page_fills(const DenseCase& dense_case, const PageAssignment& assignment);

}  // namespace flashmla::support
