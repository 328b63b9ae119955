#include "support/sparse_suite.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <span>
#include <utility>

#include "support/pooled_error.h"
#include "support/random.h"
#include "support/sparse_extreme_cases.h"
#include "support/sparse_sanitizer_cases.h"
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
  std::int64_t rows = 65'536;
};

constexpr Scale tiny{1, 150, 6, 300, 40'000};
constexpr Scale small{1, 200, 48, 1'500, 600'000};
constexpr Scale wide{1, 40, 700, 2'000, 600'000};
constexpr Scale medium{64, 1'023, 24, 4'000, 1'500'000};
constexpr Scale large{1'024, 4'096, 8, 9'000, 2'500'000};

// On a GPU a case costs the making of its lists and cache, and the oracle's choice of rows.
constexpr Scale gpu_wide{1, 700, 4'000, 20'000, 2'000'000'000};
constexpr Scale gpu_medium{64, 4'095, 1'000, 40'000, 2'000'000'000};
constexpr Scale gpu_large{1'024, 16'384, 300, 80'000, 2'000'000'000};

constexpr std::int64_t full_cases = 900;
constexpr std::int64_t gpu_cases = 600;

Scale gpu_scale_of(std::int64_t index) {
  constexpr std::array<Scale, 4> scales{gpu_wide, gpu_large, gpu_medium, gpu_large};
  return scales[static_cast<std::size_t>(index) % scales.size()];
}

// Which scale a case has: fixed by its index, so that every suite holds its share of each.
Scale scale_of(SuiteSize size, std::int64_t index) {
  if (size == SuiteSize::tiny)
    return tiny;
  constexpr std::array<Scale, 8> scales{small, large, wide, small, medium, large, wide, medium};
  return scales[static_cast<std::size_t>(index) % scales.size()];
}

std::int64_t draw_topk(const Scale& scale, Random& random) {
  const std::int64_t drawn =
      random.chance(0.03) ? scale.max_topk : random.log_between(scale.min_topk, scale.max_topk);
  if (drawn >= 64 && random.chance(0.4))
    return drawn / 64 * 64;
  return drawn;
}

// How many slots a cache has, `most` at most. Most long lists get enough for 1,024 different ones
// and more, where the rules for many tokens apply (compare.h); a cache may have half of its slots
// poisoned.
std::int64_t draw_slots(std::int64_t topk, std::int64_t most, Random& random) {
  constexpr std::int64_t enough = 4 * PooledError::min_tokens;
  const bool many = topk >= PooledError::min_tokens && random.chance(0.85);
  return random.log_between(many ? std::min(enough, most) : 1, most);
}

// A number of whole pages that have about `slots` slots.
std::int64_t pages_of(std::int64_t slots, std::int64_t page_size) {
  return std::max<std::int64_t>(1, slots / page_size);
}

void draw_options(SparseCase& c, Random& random) {
  c.topk_length = random.chance(0.5);
  c.empty_lists = random.chance(0.3);
  c.distinct = random.chance(0.6);
  if (random.chance(0.5))
    c.invalid_share = random.pick({0.01, 0.2, 0.6, 0.97});
  if (random.chance(0.3))
    c.holes =
        random.pick({Holes::runs, Holes::runs, Holes::runs, Holes::tail, Holes::tail, Holes::all});
  c.nan_rows = random.chance(0.2);
  if (random.chance(0.7))
    c.poisoned_share = random.pick({0.1, 0.5});
  c.sink = random.chance(0.45);
  draw_call_options(c, random);
  if (c.softmax_scale && random.chance(0.25))
    c.softmax_scale = random.chance(0.1) ? 0 : -*c.softmax_scale;
  if (random.chance(0.2))
    c.magnitude = random.pick({-100, -60, 60, 100});
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
  c.hostile_scales = !is_plain(c.format) && c.magnitude == 0 && random.chance(0.25);
  if (c.magnitude != 0) {  // scores of unit scale all the same
    const float scale = c.softmax_scale.value_or(1 / std::sqrt(static_cast<float>(c.qk_dim)));
    c.softmax_scale = std::ldexp(scale, -c.magnitude);
  }
}

std::int64_t draw_page_size(Random& random) {
  return random.chance(0.4) ? 64 : random.pick<std::int64_t>({1, 2, 3, 7, 16, 32, 100, 128, 256});
}

void draw_shape(SparseCase& c, const Scale& scale, Random& random) {
  c.topk = draw_topk(scale, random);
  const std::int64_t query_tokens =
      random.chance(0.1) ? scale.query_tokens : random.log_between(1, scale.query_tokens);
  c.query_heads = random.pick<std::int64_t>(
      {1, 2, 3, 4, 5, 8, 10, 12, 16, 20, 32, 40, 48, 63, 64, 96, 126, 128, 128, 192, 256});
  if (c.prefill()) {
    c.query_tokens = query_tokens;
    c.page_size = 1;
    c.num_pages = draw_slots(c.topk, 2 * scale.slots, random);
    return;
  }
  c.query_tokens =
      std::min(query_tokens, random.pick<std::int64_t>({1, 1, 1, 2, 3, 4, 5, 8, 16, 64}));
  c.batch = query_tokens / c.query_tokens;
  c.page_size = draw_page_size(random);
  c.num_pages = pages_of(draw_slots(c.topk, scale.slots, random), c.page_size);
  if (random.chance(0.12)) {  // a cache that is one of many layers in one block of memory
    c.num_pages = std::min<std::int64_t>(c.num_pages, 12);
    c.page_gap = 16 * random.between(1 << 16, 3 << 16);
  }
  if (!random.chance(0.45))
    return;
  c.extra_topk = draw_topk({1, scale.max_topk, 0, 0, 0}, random);
  c.extra_page_size = draw_page_size(random);
  c.extra_pages = pages_of(draw_slots(c.extra_topk, scale.slots, random), c.extra_page_size);
  if (c.page_gap > 0)
    c.extra_pages = std::min<std::int64_t>(c.extra_pages, 12);
  c.extra_topk_length = random.chance(0.6);
}

struct PooledShape {
  std::int64_t query_heads;
  std::int64_t query_tokens;
};

// Shapes of 90 to 128 rows, all of which the oracle checks. The heads of the first list are one
// tile on a GPU, which a worker takes by itself.
constexpr std::array<PooledShape, 5> pooled_few_heads{
    {{16, 6}, {12, 8}, {10, 9}, {8, 12}, {5, 18}}};
constexpr std::array<PooledShape, 4> pooled_many_heads{{{128, 1}, {96, 1}, {48, 2}, {32, 3}}};

// Lists of 1,024 entries and more that all count, all of them cut in two: either by two workers for
// each of equally long ones, or in the batch-invariant mode, which cuts sixteen blocks in two.
void draw_pooled_shape(SparseCase& c, SuiteSize size, std::int64_t index, Random& random) {
  c.batch_invariant = index / 25 % 2 == 0;
  const PooledShape shape =
      random.pick(c.batch_invariant ? std::span<const PooledShape>(pooled_many_heads)
                                    : std::span<const PooledShape>(pooled_few_heads));
  c.query_heads = shape.query_heads;
  c.query_tokens = shape.query_tokens;
  if (!c.prefill() && random.chance(0.5))
    std::swap(c.batch, c.query_tokens);
  c.topk_length = c.empty_lists = c.nan_rows = c.hostile_scales = false;
  c.distinct = true;  // rows of repeated slots do not count
  c.invalid_share = 0;
  c.holes = Holes::scattered;
  c.magnitude = 0;
  c.sink = c.sink && c.query_heads >= 10;  // an infinite one leaves no row to compare
  const std::int64_t more = size == SuiteSize::full && random.chance(0.5) ? 1'024 : 16;
  c.topk = PooledError::min_tokens + (c.batch_invariant ? 0 : random.between(0, more));
  c.max_workers = c.batch_invariant ? 0 : static_cast<std::int32_t>(2 * shape.query_tokens);
  c.page_size = c.prefill() ? 1 : draw_page_size(random);
  c.num_pages = 4'096 / c.page_size;
  if (!c.prefill() && random.chance(0.4)) {
    c.extra_topk = 64 * random.between(2, 7);
    c.topk -= c.extra_topk;
    c.extra_page_size = draw_page_size(random);
    c.extra_pages = 2'048 / c.extra_page_size;
  }
  draw_pooled_scores(c, index, random);
}

}  // namespace

std::int64_t SparseSuite::cases() const {
  const bool decode = kind_ == AttentionKind::sparse_decode;
  switch (size_) {
    case SuiteSize::full:
      if (decode && on_gpu_)
        return full_cases + gpu_cases + sparse_extreme_cases();
      return decode ? full_cases : 600;
    case SuiteSize::shorter:
      return decode ? 150 : 100;
    case SuiteSize::tiny:
      return decode ? 100 : 80;
    case SuiteSize::sanitizer:
      return decode ? sparse_sanitizer_cases() : 0;
  }
  return 0;
}

SparseCase SparseSuite::draw(std::int64_t index) const {
  SparseCase drawn = draw_any(index);
  drawn.aligned = on_gpu_;
  drawn.kind = kind_;
  drawn.seed = key_of(seed_, kind_, static_cast<int>(size_), index);
  return drawn;
}

SparseCase SparseSuite::draw_any(std::int64_t index) const {
  if (size_ == SuiteSize::sanitizer)
    return sparse_sanitizer_case(index);
  if (index >= full_cases + gpu_cases)
    return sparse_extreme_case(index - full_cases - gpu_cases);
  const bool gpu_alone = size_ == SuiteSize::full && index >= full_cases;
  const Scale scale = gpu_alone ? gpu_scale_of(index) : scale_of(size_, index);
  Random random(key_of(seed_, kind_, static_cast<int>(size_), index));
  constexpr int attempts = 50;
  SparseCase drawn;
  for (int i = 0; i < attempts; ++i) {
    drawn = SparseCase{};
    drawn.kind = kind_;
    draw_options(drawn, random);
    draw_format(drawn, random);
    if (is_pooled(index) && !gpu_alone) {
      draw_pooled_shape(drawn, size_, index, random);
      return drawn;
    }
    draw_shape(drawn, scale, random);
    if (drawn.row_entries() <= scale.row_entries && drawn.rows() <= scale.rows)
      return drawn;
  }
  drawn.batch = drawn.query_tokens = drawn.query_heads = 1;
  return drawn;
}

}  // namespace flashmla::support
