#include "tools/bench/workload.h"

#include <algorithm>
#include <numeric>

#include "flashmla/kv_format.h"
#include "support/case.h"
#include "support/random.h"
#include "support/sparse_case.h"
#include "tools/sparse_options.h"

namespace flashmla::tools {

namespace {

std::int64_t sum_of(const std::vector<std::int32_t>& numbers) {
  return std::accumulate(numbers.begin(), numbers.end(), std::int64_t{0});
}

std::int64_t pages_of(std::int64_t tokens, std::int64_t page_size) {
  return (tokens + page_size - 1) / page_size;
}

// Pages of all requests; a cache has at least one.
std::int64_t pages_of(const support::DenseCase& c) {
  std::int64_t pages = 0;
  for (const std::int32_t length : c.lengths)
    pages += pages_of(length, c.page_size);
  return std::max<std::int64_t>(1, pages);
}

class DenseWorkload : public Workload {
 public:
  DenseWorkload(const Shape& shape, const Problem& problem, support::DenseCase dense_case)
      : Workload(shape, problem, pages_of(dense_case), sum_of(dense_case.lengths),
                 problem.query_tokens * problem.query_heads),
        case_(std::move(dense_case)) {}

  std::vector<std::int32_t> lengths() const override { return case_.lengths; }

  // Every page of every request lies somewhere else in the cache.
  std::vector<std::int32_t> places() const override {
    std::vector<std::int32_t> pages(static_cast<std::size_t>(num_pages()));
    std::iota(pages.begin(), pages.end(), 0);
    support::Random random(case_.seed);
    for (std::int64_t last = num_pages() - 1; last > 0; --last)
      std::swap(pages[last], pages[random.between(0, last)]);
    std::vector<std::int32_t> table(static_cast<std::size_t>(problem().batch * problem().max_pages),
                                    -1);
    auto next = pages.begin();
    for (std::int64_t r = 0; r < problem().batch; ++r) {
      const std::int64_t count = pages_of(case_.lengths[r], problem().page_size);
      std::copy_n(next, count, table.begin() + r * problem().max_pages);
      next += count;
    }
    return table;
  }

  Inputs inputs(const CallMemory& memory) const override {
    Inputs inputs = Workload::inputs(memory);
    inputs.block_table = {
        memory.places, DType::i32, {problem().batch, problem().max_pages}, memory.device};
    return inputs;
  }

 private:
  support::DenseCase case_;
};

class SparseWorkload : public Workload {
 public:
  SparseWorkload(const Shape& shape, const Problem& problem, const support::SparseCase& c)
      : Workload(shape, problem, c.num_pages, c.batch * c.query_tokens * c.topk, c.query_heads),
        seed_(c.seed) {}

  // Random slots of the whole cache.
  std::vector<std::int32_t> places() const override {
    std::vector<std::int32_t> lists(static_cast<std::size_t>(tokens()));
    support::Random random(seed_);
    for (std::int32_t& slot : lists)
      slot = static_cast<std::int32_t>(random.between(0, num_pages() * problem().page_size - 1));
    return lists;
  }

  Inputs inputs(const CallMemory& memory) const override {
    const Problem& p = problem();
    Inputs inputs = Workload::inputs(memory);
    inputs.indices = {memory.places, DType::i32, {p.batch, p.query_tokens, p.topk}, memory.device};
    return inputs;
  }

 private:
  std::uint64_t seed_;
};

// Sparse prefill: the tensors have no batch, and the cache has no pages.
class PrefillWorkload : public SparseWorkload {
 public:
  using SparseWorkload::SparseWorkload;

  Inputs inputs(const CallMemory& memory) const override {
    const Problem& p = problem();
    Inputs inputs = SparseWorkload::inputs(memory);
    inputs.q = {
        memory.queries, p.query_type, {p.query_tokens, p.query_heads, p.qk_dim}, memory.device};
    inputs.kv_cache = {memory.cache, p.query_type, {num_pages(), 1, p.qk_dim}, memory.device};
    inputs.indices = {memory.places, DType::i32, {p.query_tokens, 1, p.topk}, memory.device};
    return inputs;
  }

  Outputs outputs(const CallMemory& memory) const override {
    const Problem& p = problem();
    const auto statistic = [&](std::byte* data) {
      return TensorView(data, DType::fp32, {p.query_tokens, p.query_heads}, memory.device);
    };
    return {
        .out = {memory.out, p.query_type, {p.query_tokens, p.query_heads, p.v_dim}, memory.device},
        .lse = statistic(memory.lse),
        .max_logits = statistic(memory.max_logits)};
  }
};

// The shape's tokens are the entries of each list. The cache has four times as many slots for each
// request, and no fewer than min_slots.
template <class Made>
std::unique_ptr<Workload> of_lists(AttentionKind kind, const Shape& shape,
                                   const BenchOptions& options) {
  constexpr std::int64_t min_slots = 8192;
  DenseOptions dense = options.dense(shape);
  dense.tokens = std::max(min_slots, 4 * shape.tokens);
  const support::SparseCase made = sparse_case_of(kind, dense, {.topk = shape.tokens});
  return std::make_unique<Made>(shape, problem_of(made, device_of_backend(options.backend)), made);
}

}  // namespace

Workload::Workload(const Shape& shape, const Problem& problem, std::int64_t num_pages,
                   std::int64_t tokens, std::int64_t rows_of_token)
    : shape_(shape),
      problem_(problem),
      num_pages_(num_pages),
      tokens_(tokens),
      rows_of_token_(rows_of_token) {}

std::int64_t Workload::query_rows() const {
  return problem_.batch * problem_.query_tokens * problem_.query_heads;
}

std::size_t Workload::cache_bytes() const {
  return static_cast<std::size_t>(num_pages_ * problem_.page_size * problem_.kv_heads *
                                  token_bytes(problem_.kv_format, problem_.qk_dim));
}

double Workload::bytes() const {
  const std::int64_t row =
      (problem_.qk_dim + problem_.v_dim) * static_cast<std::int64_t>(size_of(problem_.query_type));
  return static_cast<double>(tokens_ * problem_.kv_heads) *
             static_cast<double>(token_bytes(problem_.kv_format, problem_.qk_dim)) +
         static_cast<double>(query_rows()) * static_cast<double>(row);
}

double Workload::flop() const {
  return 2 * static_cast<double>(tokens_) * static_cast<double>(rows_of_token_) *
         static_cast<double>(problem_.qk_dim + problem_.v_dim);
}

Inputs Workload::inputs(const CallMemory& memory) const {
  const Problem& p = problem_;
  Inputs inputs;
  inputs.q = {memory.queries,
              p.query_type,
              {p.batch, p.query_tokens, p.query_heads, p.qk_dim},
              memory.device};
  inputs.kv_cache = {memory.cache,
                     cache_dtype(p.kv_format),
                     {num_pages_, p.page_size, p.kv_heads, token_elements(p.kv_format, p.qk_dim)},
                     memory.device};
  return inputs;
}

Outputs Workload::outputs(const CallMemory& memory) const {
  const Problem& p = problem_;
  return {.out = {memory.out,
                  p.query_type,
                  {p.batch, p.query_tokens, p.query_heads, p.v_dim},
                  memory.device},
          .lse = {memory.lse, DType::fp32, {p.batch, p.query_heads, p.query_tokens}, memory.device},
          .max_logits = {}};
}

std::unique_ptr<Workload> dense_workload(const Shape& shape, const BenchOptions& options) {
  DenseOptions dense = options.dense(shape);
  support::DenseCase made = dense.to_case();
  const Problem problem = dense.problem(made);
  return std::make_unique<DenseWorkload>(shape, problem, std::move(made));
}

std::unique_ptr<Workload> sparse_workload(const Shape& shape, const BenchOptions& options) {
  return of_lists<SparseWorkload>(AttentionKind::sparse_decode, shape, options);
}

std::unique_ptr<Workload> prefill_workload(const Shape& shape, const BenchOptions& options) {
  return of_lists<PrefillWorkload>(AttentionKind::sparse_prefill, shape, options);
}

}  // namespace flashmla::tools
