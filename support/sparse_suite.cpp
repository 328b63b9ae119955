#include "support/sparse_suite.h"

#include <algorithm>
#include <array>
#include <span>
#include <utility>

#include "support/pooled_error.h"
#include "support/random.h"
#include "support/suite_draws.h"

namespace flashmla::support {

namespace {

// How large a case may be.
struct Scale {
  std::int64_t min_topk;
  std::int64_t max_topk;
  std::int64_t query_tokens;  // of all requests
  std::int64_t slots;         // of a cache
  std::int64_t row_entries;   // rows × entries, what a run costs
};

constexpr Scale tiny{1, 150, 6, 300, 40'000};
constexpr Scale small{1, 200, 48, 1'500, 600'000};
constexpr Scale wide{1, 40, 700, 2'000, 600'000};
constexpr Scale medium{64, 1'023, 24, 4'000, 1'500'000};
constexpr Scale large{1'024, 4'096, 8, 9'000, 2'500'000};

// Which scale a case has: fixed by its index, so that every suite holds its share of each.
Scale scale_of(SuiteSize size, std::int64_t index) {
  if (size == SuiteSize::tiny)
    return tiny;
  constexpr std::array<Scale, 8> scales{small, large, wide, small, medium, large, wide, medium};
  return scales[static_cast<std::size_t>(index) % scales.size()];
}

std::int64_t draw_topk(const Scale& scale, Random& random) {
  const std::int64_t drawn = random.log_between(scale.min_topk, scale.max_topk);
  if (drawn >= 64 && random.chance(0.4))
    return drawn / 64 * 64;
  return drawn;
}

// A number of whole pages that have about `slots` slots.
std::int64_t draw_pages(std::int64_t slots, std::int64_t page_size, Random& random) {
  return std::max<std::int64_t>(1, random.log_between(1, slots) / page_size);
}

void draw_options(SparseCase& c, Random& random) {
  c.topk_length = random.chance(0.5);
  c.empty_lists = random.chance(0.3);
  if (random.chance(0.5))
    c.invalid_share = random.pick({0.01, 0.2, 0.6});
  if (random.chance(0.7))
    c.poisoned_share = random.pick({0.1, 0.5});
  c.sink = random.chance(0.45);
  draw_call_options(c, random);
  const auto padding = [&](std::initializer_list<std::int64_t> choices) {
    return random.chance(0.35) ? random.pick(choices) : 0;
  };
  c.q_padding = padding({1, 3, 8, 64});
  c.out_padding = padding({1, 3, 8, 64});
  c.index_padding = padding({1, 5, 64});
  c.cache_padding = padding({8, 64, 192});
  c.max_logits = random.chance(0.8);
}

void draw_format(SparseCase& c, Random& random) {
  c.format =
      random.pick({KvFormat::v32, KvFormat::v32, KvFormat::v4, KvFormat::v4, KvFormat::bf16});
  if (c.prefill())
    c.format = KvFormat::bf16;
  c.qk_dim = random.pick<std::int64_t>({576, 512});
  if (c.format == KvFormat::v32)
    c.qk_dim = 576;
  if (c.format == KvFormat::v4)
    c.qk_dim = 512;
  c.other_scales = !is_plain(c.format) && random.chance(0.4);
}

std::int64_t draw_page_size(Random& random) {
  return random.chance(0.4) ? 64 : random.pick<std::int64_t>({1, 2, 3, 7, 16, 32, 100, 128, 256});
}

void draw_shape(SparseCase& c, const Scale& scale, Random& random) {
  c.topk = draw_topk(scale, random);
  const std::int64_t query_tokens = random.log_between(1, scale.query_tokens);
  c.query_heads =
      random.pick<std::int64_t>({1, 2, 3, 4, 5, 8, 10, 12, 16, 20, 32, 40, 48, 64, 96, 128, 128});
  if (c.prefill()) {
    c.query_tokens = query_tokens;
    c.page_size = 1;
    c.num_pages = random.log_between(1, 2 * scale.slots);
    return;
  }
  c.query_tokens = std::min(query_tokens, random.pick<std::int64_t>({1, 1, 1, 2, 3, 4, 8, 64}));
  c.batch = query_tokens / c.query_tokens;
  c.page_size = draw_page_size(random);
  c.num_pages = draw_pages(scale.slots, c.page_size, random);
  if (!random.chance(0.45))
    return;
  c.extra_topk = draw_topk({1, scale.max_topk, 0, 0, 0}, random);
  c.extra_page_size = draw_page_size(random);
  c.extra_pages = draw_pages(scale.slots, c.extra_page_size, random);
  c.extra_topk_length = random.chance(0.6);
}

// Shapes of few and of many heads, with at most 96 rows.
struct PooledShape {
  std::int64_t query_heads;
  std::int64_t query_tokens;
};
constexpr std::array<PooledShape, 6> pooled_shapes{
    {{96, 1}, {48, 2}, {32, 3}, {16, 6}, {12, 8}, {8, 12}}};

// Lists of 1,024 entries and more that all count, all of them cut in two.
void draw_pooled_shape(SparseCase& c, SuiteSize size, std::int64_t index, Random& random) {
  const PooledShape shape = random.pick(std::span<const PooledShape>(pooled_shapes));
  c.query_heads = shape.query_heads;
  c.query_tokens = shape.query_tokens;
  if (!c.prefill() && random.chance(0.5))
    std::swap(c.batch, c.query_tokens);
  c.topk_length = c.empty_lists = false;
  c.invalid_share = 0;
  const std::int64_t more = size == SuiteSize::full && random.chance(0.5) ? 1'024 : 16;
  c.topk = random.between(PooledError::min_tokens, PooledError::min_tokens + more);
  c.page_size = c.prefill() ? 1 : draw_page_size(random);
  c.num_pages = 4'096 / c.page_size;
  if (!c.prefill() && random.chance(0.4)) {
    c.extra_topk = random.between(100, 500);
    c.topk -= c.extra_topk;
    c.extra_page_size = draw_page_size(random);
    c.extra_pages = 2'048 / c.extra_page_size;
  }
  draw_pooled_scores(c, index, random);
  c.batch_invariant = false;
  c.max_workers = static_cast<std::int32_t>(2 * shape.query_tokens);
}

}  // namespace

std::int64_t SparseSuite::cases() const {
  const bool decode = kind_ == AttentionKind::sparse_decode;
  switch (size_) {
    case SuiteSize::full:
      return decode ? 900 : 600;
    case SuiteSize::shorter:
      return decode ? 150 : 100;
    case SuiteSize::tiny:
      return decode ? 100 : 80;
    case SuiteSize::sanitizer:  // dense alone so far, as the kernels are
      return 0;
  }
  return 0;
}

SparseCase SparseSuite::draw(std::int64_t index) const {
  const Scale scale = scale_of(size_, index);
  const std::uint64_t seed = key_of(seed_, kind_, static_cast<int>(size_), index);
  Random random(seed);
  constexpr int attempts = 50;
  SparseCase drawn;
  for (int i = 0; i < attempts; ++i) {
    drawn = SparseCase{};
    drawn.seed = seed;
    drawn.kind = kind_;
    draw_options(drawn, random);
    draw_format(drawn, random);
    if (is_pooled(index)) {
      draw_pooled_shape(drawn, size_, index, random);
      return drawn;
    }
    draw_shape(drawn, scale, random);
    if (drawn.row_entries() <= scale.row_entries)
      return drawn;
  }
  drawn.batch = drawn.query_tokens = drawn.query_heads = 1;
  return drawn;
}

}  // namespace flashmla::support
