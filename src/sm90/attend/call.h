// The parameters of an attention call, grouped by meaning. The Params of each kernel consist of
// these structs. Strides are in elements of 16 bits.
#pragma once

#include <cstdint>

#include "schedule/integer_math.h"
#include "schedule/walk.h"
#include "sm90/attend/partial_form.h"
#include "sm90/ops/fast_divisor.h"

namespace flashmla::sm90::attend {

inline constexpr int block_tokens = 64;
inline constexpr int v_dim = 512;

struct Strides {
  std::int64_t outer;   // request or page
  std::int64_t middle;  // query token or token in page
  std::int64_t head;
};

// How the call is divided among workers. A caller may have handed over the memory of the schedule,
// so that its arrays may hold any numbers.
struct Schedule {
  std::int32_t requests;  // b
  std::int32_t workers;
  const WorkRow* work;                       // [workers]
  const std::int32_t* split_offset;          // [b + 1]
  const schedule::SplitRequest* split_list;  // [workers + 1]
  const std::int32_t* lengths;               // [b]
  std::int32_t planned_tokens;               // the plan allows no longer request
  std::int32_t partials;                     // room for partial results of all requests
  std::int32_t* status;  // 0, or 1 + the first request with a page outside the cache

  FLASHMLA_DEVICE schedule::Walk walk() const {
    return {lengths, split_offset, requests, workers, block_tokens, planned_tokens, partials};
  }
};

// A row of a KV head: its query token and query head.
struct RowPlace {
  std::int32_t token;
  std::int32_t head;
  bool there;  // false: a row behind the last one, which is padding
};

// The query rows of a request. The rows of one KV head have numbers: row = query token · group +
// head in group.
struct Rows {
  std::int32_t query_tokens;  // s_q
  std::int32_t query_heads;   // h_q
  std::int32_t kv_heads;      // h_kv
  std::int32_t group;         // h_q / h_kv
  std::int32_t count;         // s_q · group: rows of a KV head
  ops::FastDivisor by_group;

  FLASHMLA_DEVICE RowPlace place(std::int32_t kv_head, std::int32_t row) const {
    const std::int32_t token = by_group.quotient(row);
    return {token, kv_head * group + row - token * group, row < count};
  }
};

// The output tensors.
struct OutputTensors {
  std::uint16_t* out;  // [b, s_q, h_q, 512]
  Strides strides;
  std::int64_t row_distance;  // elements between neighbouring rows of a KV head; 0: distances
                              // differ, or rows are not aligned
  float* lse;                 // [b, h_q, s_q]
  float lse_scale;            // factor that turns an lse to base 2 into the caller's base
  float empty_lse;            // lse of a row without tokens
  const float* sink;          // [h_q] or null
  bool aligned;               // rows begin at multiples of 16 bytes
};

// Where the result of a row lies, if a request of the schedule is one of the batch.
struct Output : OutputTensors {
  FLASHMLA_DEVICE std::uint16_t* row(std::int32_t request, const RowPlace& at) const {
    return out + request * strides.outer + at.token * strides.middle + at.head * strides.head;
  }
  FLASHMLA_HOST_DEVICE float* lse_of(const Rows& rows, std::int32_t request,
                                     const RowPlace& at) const {
    return lse +
           (static_cast<std::int64_t>(request) * rows.query_heads + at.head) * rows.query_tokens +
           at.token;
  }
};

// The same in sparse attention, where every query token is a request of the schedule.
struct TokenOutput : OutputTensors {
  std::int32_t query_tokens;  // s_q
  ops::FastDivisor by_query_tokens;

  // A query token of the batch.
  struct BatchPlace {
    std::int32_t request;
    std::int32_t token;
  };
  FLASHMLA_DEVICE BatchPlace batch_place(std::int32_t request) const {
    const std::int32_t batch = by_query_tokens.quotient(request);
    return {batch, request - batch * query_tokens};
  }

  FLASHMLA_DEVICE std::uint16_t* row(std::int32_t request, const RowPlace& at) const {
    const BatchPlace place = batch_place(request);
    return out + place.request * strides.outer + place.token * strides.middle +
           at.head * strides.head;
  }
  FLASHMLA_DEVICE float* lse_of(const Rows& rows, std::int32_t request, const RowPlace& at) const {
    const BatchPlace place = batch_place(request);
    return lse +
           (static_cast<std::int64_t>(place.request) * rows.query_heads + at.head) * query_tokens +
           place.token;
  }
};

// The partial results of split requests, in the run workspace.
struct Partials {
  void* out;         // PartialNumber<T> [partials, kv_heads · rows, 512]
  PartialRow* rows;  // [partials, kv_heads · rows, row_entries<T>]
};

// How a score follows from the product of a query and a key.
struct Scores {
  float scale;   // |softmax_scale| · log2 e, above 0, so that weights are 2^score
  bool negated;  // softmax_scale < 0
  bool causal;   // query token t sees only the tokens j ≤ s_k − s_q + t

  // How many tokens of a request of `length` tokens a query token sees, at least 0.
  FLASHMLA_DEVICE std::int32_t visible_tokens(const Rows& rows, std::int32_t length,
                                              std::int32_t query_token) const {
    return causal ? schedule::larger(0, length - rows.query_tokens + query_token + 1) : length;
  }
};

}  // namespace flashmla::sm90::attend
