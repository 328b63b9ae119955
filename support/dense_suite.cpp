#include "support/dense_suite.h"

#include <algorithm>
#include <array>
#include <span>
#include <vector>

#include "support/pooled_error.h"
#include "support/random.h"
#include "support/sanitizer_cases.h"
#include "support/suite_draws.h"

namespace flashmla::support {

namespace {

// How large a case may be.
struct Scale {
  std::int64_t shortest;    // of the longest request, tokens
  std::int64_t longest;     // tokens in a request
  std::int64_t batch;       // requests
  std::int64_t row_tokens;  // Σ rows × tokens, what a run costs
  std::int64_t tokens;      // Σ tokens × KV heads, what the cache costs
  std::int64_t rows = 16'384;
};

constexpr Scale tiny{1, 300, 5, 100'000, 1'500};
constexpr Scale small{1, 700, 24, 800'000, 8'000};
constexpr Scale wide{1, 160, 321, 1'200'000, 24'000};
constexpr Scale medium{200, 4'096, 32, 3'000'000, 40'000};
constexpr Scale large{4'097, 32'768, 6, 6'000'000, 70'000};
constexpr Scale huge{32'769, 131'072, 3, 17'000'000, 200'000};

// On a GPU a case costs the making of its cache and the oracle's rows, and the oracle takes a
// choice of rows.
constexpr std::int64_t gpu_rows = 65'536;
constexpr Scale gpu_wide{1, 600, 321, 100'000'000, 60'000, gpu_rows};
constexpr Scale gpu_medium{200, 8'192, 128, 400'000'000, 100'000, gpu_rows};
constexpr Scale gpu_large{4'097, 32'768, 32, 1'000'000'000, 150'000, gpu_rows};
constexpr Scale gpu_huge{65'537, 131'072, 8, 4'000'000'000, 250'000, gpu_rows};

Scale gpu_scale_of(std::int64_t index) {
  constexpr std::array<Scale, 8> scales{gpu_wide, gpu_large, gpu_medium, gpu_large,
                                        gpu_wide, gpu_large, gpu_medium, gpu_huge};
  return scales[static_cast<std::size_t>(index) % scales.size()];
}

constexpr std::int64_t full_cases = 1040;
constexpr std::int64_t gpu_cases = 480;
constexpr std::int64_t extreme_cases = 4;

// Which scale a case has: fixed by its index, so that every suite holds its share of each.
Scale scale_of(SuiteSize size, std::int64_t index) {
  if (size == SuiteSize::tiny)
    return tiny;
  if (size == SuiteSize::full && index % 20 == 7)
    return huge;
  if (size == SuiteSize::shorter && index % 100 == 7)
    return {32'769, 50'000, 2, 2'000'000, 60'000};
  if (index % 5 == 1)
    return size == SuiteSize::full ? large : Scale{4'097, 9'000, 3, 800'000, 20'000};
  constexpr std::array<Scale, 3> others{small, wide, medium};
  return others[static_cast<std::size_t>(index / 5 + index) % others.size()];
}

std::int64_t draw_longest(const Scale& scale, Random& random) {
  if (random.chance(0.05))
    return scale.longest;
  return random.chance(0.5) ? random.between(scale.shortest, scale.longest)
                            : random.log_between(scale.shortest, scale.longest);
}

std::vector<std::int32_t> draw_lengths(const Scale& scale, Random& random) {
  const std::int64_t batch = random.chance(0.08) ? scale.batch : random.log_between(1, scale.batch);
  const std::int64_t longest = draw_longest(scale, random);
  const double zero_probability = random.chance(0.35) ? 0.3 : 0;
  std::vector<std::int32_t> lengths(static_cast<std::size_t>(batch));
  for (std::int32_t& length : lengths)
    length = random.chance(zero_probability)
                 ? 0
                 : static_cast<std::int32_t>(random.chance(0.5) ? random.between(1, longest)
                                                                : random.log_between(1, longest));
  if (scale.shortest > 1 || random.chance(0.9))
    lengths[random.between(0, batch - 1)] = static_cast<std::int32_t>(longest);
  return lengths;
}

void draw_heads(DenseCase& c, Random& random) {
  c.query_heads = random.pick<std::int64_t>(
      {1, 2, 3, 4, 5, 8, 9, 10, 12, 16, 20, 32, 40, 48, 63, 64, 96, 126, 128});
  c.kv_heads = random.chance(0.6) ? random.pick<std::int64_t>({2, 3, 8}) : 1;
  if (c.query_heads % c.kv_heads != 0)
    c.kv_heads = 1;
  c.query_tokens =
      random.chance(0.35) ? 1 : random.pick<std::int64_t>({2, 2, 3, 4, 4, 5, 7, 8, 16, 33, 64});
}

void draw_options(DenseCase& c, Random& random) {
  c.type = random.chance(0.35) ? DType::fp16 : DType::bf16;
  c.qk_dim = random.chance(0.3) ? 512 : 576;
  c.causal = random.chance(0.6);
  c.sink = random.chance(0.4);
  draw_call_options(c, random);
  c.page_size =
      random.chance(0.4) ? 64 : random.pick<std::int64_t>({1, 16, 32, 128, 256, 1, 7, 13, 48, 100});
  // Engines make block tables for the longest context that they serve.
  if (random.chance(0.5))
    c.spare_pages = random.chance(0.6) ? random.between(1, 5) : random.log_between(6, 3000);
  const auto padding = [&] {
    return random.chance(0.35) ? random.pick<std::int64_t>({1, 3, 8, 64}) : 0;
  };
  c.q_padding = padding();
  c.cache_padding = padding();
  c.out_padding = padding();
  c.table_padding = padding();
  c.permuted = random.chance(0.4);
  c.shared_pages = random.chance(0.45);
}

bool fits(const DenseCase& c, const Scale& scale) {
  std::int64_t tokens = 0;
  for (const std::int32_t length : c.lengths)
    tokens += length + c.page_size;
  return tokens * c.kv_heads <= scale.tokens + c.page_size * c.batch() &&
         c.row_tokens() <= scale.row_tokens && c.rows() <= scale.rows;
}

struct PooledShape {
  std::int64_t query_heads;
  std::int64_t query_tokens;
  std::int64_t batch;
};

// Shapes of at most 96 rows. The first list has few rows of each request: they are one tile on a
// GPU, which a worker takes by itself.
constexpr std::array<PooledShape, 7> pooled_few_rows{
    {{16, 1, 6}, {8, 2, 6}, {4, 4, 6}, {3, 5, 6}, {1, 15, 6}, {5, 3, 6}, {10, 1, 9}}};
constexpr std::array<PooledShape, 6> pooled_many_rows{
    {{96, 1, 1}, {48, 2, 1}, {32, 1, 3}, {16, 2, 3}, {12, 8, 1}, {3, 32, 1}}};

// Requests that every backend cuts in two: either by two workers for each of equally long ones, or
// in the batch-invariant mode, which cuts sixteen blocks in two.
void draw_pooled_lengths(DenseCase& c, SuiteSize size, bool invariant, Random& random) {
  const PooledShape shape = random.pick(invariant ? std::span<const PooledShape>(pooled_many_rows)
                                                  : std::span<const PooledShape>(pooled_few_rows));
  c.query_heads = shape.query_heads;
  c.query_tokens = shape.query_tokens;
  c.batch_invariant = invariant;
  std::int64_t length = PooledError::min_tokens;
  if (invariant) {
    c.causal = false;  // the first query token sees all tokens, too
    c.max_workers = 0;
    if (size != SuiteSize::tiny && random.chance(0.3))
      c.query_heads = 128;
  } else {
    const std::int64_t more = size == SuiteSize::tiny ? 8 : size == SuiteSize::full ? 6'000 : 1'000;
    length += c.query_tokens + random.between(0, more);
    c.max_workers = static_cast<std::int32_t>(2 * shape.batch);
  }
  c.lengths.assign(static_cast<std::size_t>(shape.batch), static_cast<std::int32_t>(length));
}

// A case for the pooled rule. Cases have both types in turn.
void draw_pooled_case(DenseCase& c, SuiteSize size, std::int64_t index, Random& random) {
  const std::int64_t number = index / 25;
  draw_pooled_lengths(c, size, number / 2 % 2 == 0, random);
  c.type = number % 2 == 0 ? DType::bf16 : DType::fp16;
  c.sink = c.sink && c.query_heads >= 10;  // an infinite one leaves no row to compare
  draw_pooled_scores(c, index, random);
}

// Engines pass all tokens as query tokens of one request, or as requests of one token. And many
// requests of two query tokens, whose rows fill four large tiles.
DenseCase extreme_case(std::int64_t which, Random& random) {
  DenseCase c;
  c.causal = true;
  switch (which) {
    case 0:
      c.query_tokens = 700;
      c.query_heads = 16;
      c.lengths = {3000, 500};
      break;
    case 1:
      c.query_heads = 2;
      c.page_size = 2;
      c.lengths.resize(131'072);
      for (std::int32_t& length : c.lengths)
        length = static_cast<std::int32_t>(random.between(0, 5));
      break;
    case 2:
      c.query_tokens = 131'072;
      c.lengths = {static_cast<std::int32_t>(random.between(100, 300))};
      break;
    default:
      c.query_tokens = 2;
      c.query_heads = 128;
      c.lengths.resize(100);
      c.spare_pages = 200;  // where long requests are possible
      for (std::int32_t& length : c.lengths)
        length = static_cast<std::int32_t>(random.between(0, 3000));
      break;
  }
  return c;
}

}  // namespace

std::int64_t DenseSuite::cases() const {
  switch (size_) {
    case SuiteSize::full:
      return full_cases + (on_gpu_ ? gpu_cases + extreme_cases : 0);
    case SuiteSize::shorter:
      return 300;
    case SuiteSize::tiny:
      return 150;
    case SuiteSize::sanitizer:
      return sanitizer_cases();
  }
  return 0;
}

DenseCase DenseSuite::draw(std::int64_t index) const {
  DenseCase drawn;
  drawn.seed = key_of(seed_, static_cast<int>(size_), index);
  if (size_ == SuiteSize::sanitizer)
    return sanitizer_case(index, drawn.seed);
  Random random(drawn.seed);
  if (index >= full_cases + gpu_cases) {
    DenseCase extreme = extreme_case(index - full_cases - gpu_cases, random);
    extreme.seed = drawn.seed;
    return extreme;
  }
  draw_options(drawn, random);
  if (index < full_cases && is_pooled(index)) {
    draw_pooled_case(drawn, size_, index, random);
    return drawn;
  }
  const bool gpu_alone = index >= full_cases;
  const Scale scale = gpu_alone ? gpu_scale_of(index) : scale_of(size_, index);
  constexpr int attempts = 20;
  bool fitting = false;
  for (int i = 0; i < attempts && !fitting; ++i) {
    drawn.lengths = draw_lengths(scale, random);
    for (int j = 0; j < attempts && !fitting; ++j) {
      draw_heads(drawn, random);
      fitting = fits(drawn, scale);
    }
  }
  if (!fitting) {
    drawn.query_heads = drawn.kv_heads = drawn.query_tokens = 1;
    drawn.lengths = {static_cast<std::int32_t>(scale.shortest)};
  }
  if (gpu_alone) {
    drawn.appended = random.chance(0.2);
    drawn.merged = !drawn.causal && random.chance(0.45);
    // The rule for whole tensors has room for one rounding of partial results.
    if (drawn.merged) {
      drawn.max_workers = 1;
      drawn.batch_invariant = false;
    }
  }
  return drawn;
}

}  // namespace flashmla::support
