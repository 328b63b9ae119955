// What `flashmla bench` times: a call of one shape, whatever kind of attention it is. A kind adds
// its class here and its suite to suites.h; nothing else in this folder knows of kinds.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "flashmla/decode.h"
#include "tools/bench/options.h"
#include "tools/bench/random_cache.h"
#include "tools/shapes.h"

namespace flashmla::tools {

// Where the tensors of a call lie. The views that a workload makes of them have no padding.
struct CallMemory {
  Device device;
  std::byte* cache;         // Workload::cache_bytes()
  std::byte* extra_cache;   // Workload::extra_cache()
  std::byte* queries;       // [query_rows, d_qk]
  std::byte* places;        // Workload::places()
  std::byte* extra_places;  // Workload::extra_places()
  std::byte* out;           // [query_rows, d_v]
  std::byte* lse;           // [query_rows]
  std::byte* max_logits;    // [query_rows]
};

class Workload {
 public:
  virtual ~Workload() = default;
  Workload(const Workload&) = delete;
  Workload& operator=(const Workload&) = delete;

  const Shape& shape() const { return shape_; }
  const Problem& problem() const { return problem_; }
  const CachePages& cache() const { return cache_; }
  const CachePages& extra_cache() const {
    return extra_cache_;
  }  // without pages unless there is one
  std::int64_t num_pages() const { return cache_.count; }
  std::int64_t query_rows() const;  // b · s_q · h_q
  std::size_t cache_bytes() const { return cache_.bytes(); }

  // Cached tokens that a call attends to, of all requests; in sparse attention of all index lists.
  std::int64_t tokens() const { return counts_.tokens; }
  // What a call has to move: each cached token that it reads once for each KV head, q and out.
  double bytes() const;
  // What a call computes: 2 · (d_qk + d_v) for each row of q and each token that the row attends
  // to.
  double flop() const;

  // [b] tokens of each request, which schedule() takes. Sparse attention has none.
  virtual std::vector<std::int32_t> lengths() const { return {}; }
  // Where the tokens lie in the cache: the block table, or the index lists.
  virtual std::vector<std::int32_t> places() const = 0;
  virtual std::vector<std::int32_t> extra_places() const { return {}; }

  virtual Inputs inputs(const CallMemory& memory) const;
  virtual Outputs outputs(const CallMemory& memory) const;

 protected:
  struct Counts {
    std::int64_t tokens;         // that rows of q attend to
    std::int64_t distinct;       // of them
    std::int64_t rows_of_token;  // query rows that attend to one of them
  };
  struct Caches {
    CachePages main;
    CachePages extra;
  };

  Workload(const Shape& shape, const Problem& problem, const Caches& caches, const Counts& counts);

 private:
  Shape shape_;
  Problem problem_;
  CachePages cache_;
  CachePages extra_cache_;
  Counts counts_;
};

// Each throws BadInput on a shape or an option that the kind does not have.
std::unique_ptr<Workload> dense_workload(const Shape& shape, const BenchOptions& options);
std::unique_ptr<Workload> sparse_workload(const Shape& shape, const BenchOptions& options);
std::unique_ptr<Workload> prefill_workload(const Shape& shape, const BenchOptions& options);

using Workloads = std::vector<std::unique_ptr<Workload>>;

}  // namespace flashmla::tools
