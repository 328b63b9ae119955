#include "tools/bench/workload.h"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>

#include "flashmla/kv_format.h"
#include "support/case.h"
#include "support/random.h"
#include "support/sparse_case.h"
#include "tools/bench/index_lists.h"
#include "tools/command.h"
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

// Pages of a cache. Pages of V4's format begin at multiples of a row, as engines lay them.
CachePages cache_pages(const Problem& p, std::int64_t count, std::int64_t page_size) {
  std::int64_t bytes = page_size * p.kv_heads * token_bytes(p.kv_format, p.qk_dim);
  if (p.kv_format == KvFormat::v4)
    bytes = pages_of(bytes, V4Layout::row_bytes) * V4Layout::row_bytes;
  return {.count = count, .page_size = page_size, .page_bytes = bytes};
}

TensorView cache_view(const Problem& p, const CachePages& pages, std::byte* data,
                      const Device& device) {
  const DType type = cache_dtype(p.kv_format);
  const std::int64_t token = token_elements(p.kv_format, p.qk_dim);
  const std::int64_t page = pages.page_bytes / static_cast<std::int64_t>(size_of(type));
  return {data,
          type,
          {pages.count, pages.page_size, p.kv_heads, token},
          {page, p.kv_heads * token, token, 1},
          device};
}

class DenseWorkload : public Workload {
 public:
  DenseWorkload(const Shape& shape, const Problem& problem, support::DenseCase dense_case)
      : Workload(shape, problem,
                 {cache_pages(problem, pages_of(dense_case), problem.page_size), {}},
                 {.tokens = sum_of(dense_case.lengths),
                  .distinct = sum_of(dense_case.lengths),
                  .rows_of_token = problem.query_tokens * problem.query_heads}),
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

// The lists into both caches; a workload without an extra cache has none into it.
struct CallLists {
  IndexLists main;
  IndexLists extra;
};

CallLists draw_call_lists(const Shape& shape, const support::SparseCase& c) {
  CallLists lists;
  lists.main = draw_lists({.batch = c.batch,
                           .query_tokens = c.query_tokens,
                           .topk = c.topk,
                           .valid = shape.valid > 0 ? shape.valid : c.topk,
                           .scattered = shape.scattered,
                           .pages_of_request = c.num_pages / c.batch,
                           .page_size = c.page_size},
                          support::key_of(c.seed, 0));
  if (c.extra_topk > 0)
    lists.extra = draw_lists({.batch = c.batch,
                              .query_tokens = c.query_tokens,
                              .topk = c.extra_topk,
                              .valid = c.extra_topk,
                              .scattered = false,
                              .pages_of_request = c.extra_pages / c.batch,
                              .page_size = c.extra_page_size},
                             support::key_of(c.seed, 1));
  return lists;
}

class SparseWorkload : public Workload {
 public:
  SparseWorkload(const Shape& shape, const Problem& problem, const support::SparseCase& c)
      : SparseWorkload(shape, problem, c, draw_call_lists(shape, c)) {}

  std::vector<std::int32_t> places() const override { return lists_.main.slots; }
  std::vector<std::int32_t> extra_places() const override { return lists_.extra.slots; }

  Inputs inputs(const CallMemory& memory) const override {
    const Problem& p = problem();
    Inputs inputs = Workload::inputs(memory);
    inputs.indices = {memory.places, DType::i32, {p.batch, p.query_tokens, p.topk}, memory.device};
    if (p.extra_topk == 0)
      return inputs;
    inputs.extra_kv_cache = cache_view(p, extra_cache(), memory.extra_cache, memory.device);
    inputs.extra_indices = {
        memory.extra_places, DType::i32, {p.batch, p.query_tokens, p.extra_topk}, memory.device};
    return inputs;
  }

 private:
  SparseWorkload(const Shape& shape, const Problem& problem, const support::SparseCase& c,
                 CallLists lists)
      : Workload(shape, problem,
                 {cache_pages(problem, c.num_pages, c.page_size),
                  cache_pages(problem, c.extra_pages, c.extra_page_size)},
                 {.tokens = entries(lists.main) + entries(lists.extra),
                  .distinct = lists.main.distinct + lists.extra.distinct,
                  .rows_of_token = c.query_heads}),
        lists_(std::move(lists)) {}

  // That name a slot.
  static std::int64_t entries(const IndexLists& lists) {
    return std::ranges::count_if(lists.slots, [](std::int32_t slot) { return slot >= 0; });
  }

  CallLists lists_;
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

// Slots of a request in each cache. On a GPU as many as the recorded calls had; elsewhere four
// times those that a list names, and no fewer than 8,192.
std::int64_t slots_of_request(const Shape& shape, const BenchOptions& options) {
  constexpr std::int64_t more = 32768;
  constexpr std::int64_t fewer = 16384;
  if (options.on_gpu())
    return std::max({shape.batch > 64 || options.format == "v4" ? fewer : more, shape.tokens,
                     shape.extra_tokens});
  return std::max<std::int64_t>(8192, 4 * std::max(shape.tokens, shape.extra_tokens));
}

template <class Made>
std::unique_ptr<Workload> of_lists(AttentionKind kind, const Shape& shape,
                                   const BenchOptions& options) {
  const std::int64_t slots = slots_of_request(shape, options);
  DenseOptions dense = options.dense(shape);
  dense.tokens = slots;
  support::SparseCase made = sparse_case_of(kind, dense,
                                            {.topk = shape.tokens,
                                             .extra_topk = shape.extra_tokens,
                                             .extra_page_size = shape.extra_page});
  made.num_pages = made.batch * pages_of(slots, made.page_size);
  if (made.extra_topk > 0)
    made.extra_pages = made.batch * pages_of(slots, made.extra_page_size);
  return std::make_unique<Made>(shape, problem_of(made, device_of_backend(options.backend)), made);
}

void refuse(const Shape& shape, bool given, const char* wanted) {
  if (given)
    throw BadInput(fmt::format("--shape: given {}, wanted {}", text_of(shape), wanted));
}

}  // namespace

Workload::Workload(const Shape& shape, const Problem& problem, const Caches& caches,
                   const Counts& counts)
    : shape_(shape),
      problem_(problem),
      cache_(caches.main),
      extra_cache_(caches.extra),
      counts_(counts) {}

std::int64_t Workload::query_rows() const {
  return problem_.batch * problem_.query_tokens * problem_.query_heads;
}

double Workload::bytes() const {
  const std::int64_t row =
      (problem_.qk_dim + problem_.v_dim) * static_cast<std::int64_t>(size_of(problem_.query_type));
  return static_cast<double>(counts_.distinct * problem_.kv_heads) *
             static_cast<double>(token_bytes(problem_.kv_format, problem_.qk_dim)) +
         static_cast<double>(query_rows()) * static_cast<double>(row);
}

double Workload::flop() const {
  return 2 * static_cast<double>(counts_.tokens) * static_cast<double>(counts_.rows_of_token) *
         static_cast<double>(problem_.qk_dim + problem_.v_dim);
}

Inputs Workload::inputs(const CallMemory& memory) const {
  const Problem& p = problem_;
  Inputs inputs;
  inputs.q = {memory.queries,
              p.query_type,
              {p.batch, p.query_tokens, p.query_heads, p.qk_dim},
              memory.device};
  inputs.kv_cache = cache_view(p, cache_, memory.cache, memory.device);
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
  refuse(shape, shape.sparse_only(), "b,s_q,h_q,tokens[,varlen][,causal] in the dense suite");
  DenseOptions dense = options.dense(shape);
  support::DenseCase made = dense.to_case();
  const Problem problem = dense.problem(made);
  return std::make_unique<DenseWorkload>(shape, problem, std::move(made));
}

std::unique_ptr<Workload> sparse_workload(const Shape& shape, const BenchOptions& options) {
  return of_lists<SparseWorkload>(AttentionKind::sparse_decode, shape, options);
}

std::unique_ptr<Workload> prefill_workload(const Shape& shape, const BenchOptions& options) {
  refuse(shape, shape.extra_tokens > 0, "one list in the prefill suite");
  return of_lists<PrefillWorkload>(AttentionKind::sparse_prefill, shape, options);
}

}  // namespace flashmla::tools
