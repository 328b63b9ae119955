#include "tests/backends/cpu/dense_case.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <numeric>

#include "backends/cpu/cpu_backend.h"
#include "backends/cpu/dense_decode.h"
#include "backends/cpu/isa.h"
#include "backends/cpu/partials.h"
#include "core/numeric.h"
#include "core/text.h"

namespace flashmla::backends::cpu {

namespace {

constexpr std::uint16_t nan_bits = 0x7fff;  // in bf16 and in fp16
constexpr float infinity = std::numeric_limits<float>::infinity();
constexpr std::int64_t v_dim = 512;

}  // namespace

std::string describe(const CaseOptions& o) {
  return text("lengths ", list_text(o.lengths), " s_q ", o.query_tokens, " h_q ", o.query_heads,
              " h_kv ", o.kv_heads, " d_qk ", o.qk_dim, " page ", o.page_size, " ", name_of(o.type),
              o.causal ? " causal" : "", o.sink ? " sink" : "", o.strided ? " strided" : "",
              o.batch_invariant ? " batch_invariant" : "", " max_workers ", o.max_workers,
              " scale ", o.softmax_scale);
}

AlignedMemory::AlignedMemory(std::size_t bytes)
    : memory_(bytes + workspace_alignment, std::byte{0xff}) {
  const auto address = reinterpret_cast<std::uintptr_t>(memory_.data());
  offset_ = (workspace_alignment - address % workspace_alignment) % workspace_alignment;
}

DenseCase::DenseCase(CaseOptions options, unsigned seed) : options_(std::move(options)) {
  std::mt19937 random(seed);
  const std::int32_t longest =
      options_.lengths.empty()
          ? 0
          : *std::max_element(options_.lengths.begin(), options_.lengths.end());
  problem_.query_type = options_.type;
  problem_.kv_format = options_.type == DType::fp16 ? KvFormat::fp16 : KvFormat::bf16;
  problem_.batch = static_cast<std::int64_t>(options_.lengths.size());
  problem_.query_tokens = options_.query_tokens;
  problem_.query_heads = options_.query_heads;
  problem_.kv_heads = options_.kv_heads;
  problem_.qk_dim = options_.qk_dim;
  problem_.page_size = options_.page_size;
  problem_.max_pages = (longest + options_.page_size - 1) / options_.page_size + 2;
  problem_.causal = options_.causal;
  problem_.batch_invariant = options_.batch_invariant;
  problem_.max_workers = options_.max_workers;
  make_query(random);
  make_cache(random);
  if (options_.sink) {
    std::normal_distribution<float> normal(0.0f, 3.0f);
    for (std::int64_t head = 0; head < options_.query_heads; ++head)
      sink_.push_back(head % 5 == 3 ? -infinity : head % 7 == 5 ? infinity : normal(random));
    inputs_.attn_sink = {sink_.data(), DType::fp32, {options_.query_heads}};
  }
}

void DenseCase::make_query(std::mt19937& random) {
  std::normal_distribution<float> normal;
  const std::int64_t head_stride = options_.qk_dim + (options_.strided ? 3 : 0);
  const std::int64_t token_stride = head_stride * options_.query_heads + (options_.strided ? 5 : 0);
  const std::int64_t stride = token_stride * options_.query_tokens + (options_.strided ? 7 : 0);
  query_.assign(static_cast<std::size_t>(problem_.batch * stride), nan_bits);
  inputs_.q = {query_.data(),
               options_.type,
               {problem_.batch, options_.query_tokens, options_.query_heads, options_.qk_dim},
               {stride, token_stride, head_stride, 1}};
  for (std::int64_t r = 0; r < problem_.batch; ++r)
    for (std::int64_t t = 0; t < options_.query_tokens; ++t)
      for (std::int64_t h = 0; h < options_.query_heads; ++h)
        for (std::int64_t d = 0; d < options_.qk_dim; ++d)
          query_[r * stride + t * token_stride + h * head_stride + d] = bits_of(normal(random));
}

// Pages are dealt out in random order, with spare pages between them. Rows that belong to no
// request are NaN or infinite. Entries of the block table behind the last page of a request are no
// page numbers.
void DenseCase::make_cache(std::mt19937& random) {
  std::normal_distribution<float> normal;
  const std::int64_t page = options_.page_size;
  const std::int64_t head_stride = options_.qk_dim + (options_.strided ? 2 : 0);
  const std::int64_t row_stride = head_stride * options_.kv_heads + (options_.strided ? 9 : 0);
  const std::int64_t block_stride = row_stride * page + (options_.strided ? 11 : 0);
  std::int64_t used = 0;
  for (const std::int32_t length : options_.lengths)
    used += (length + page - 1) / page;
  const std::int64_t blocks = used + 3;
  cache_.resize(static_cast<std::size_t>(blocks * block_stride));
  for (std::uint16_t& element : cache_)
    element = random() % 2 == 0 ? nan_bits : std::uint16_t{0x7f80};
  inputs_.kv_cache = {cache_.data(),
                      options_.type,
                      {blocks, page, options_.kv_heads, options_.qk_dim},
                      {block_stride, row_stride, head_stride, 1}};

  std::vector<std::int32_t> order(static_cast<std::size_t>(blocks));
  std::iota(order.begin(), order.end(), 0);
  std::shuffle(order.begin(), order.end(), random);
  const std::int64_t table_stride = problem_.max_pages + (options_.strided ? 4 : 0);
  table_.resize(static_cast<std::size_t>(problem_.batch * table_stride));
  for (std::int32_t& entry : table_)
    entry = static_cast<std::int32_t>(random()) | (1 << 30);
  inputs_.block_table = {
      table_.data(), DType::i32, {problem_.batch, problem_.max_pages}, {table_stride, 1}};
  inputs_.softmax_scale = options_.softmax_scale;

  auto next = order.begin();
  for (std::int64_t r = 0; r < problem_.batch; ++r)
    for (std::int64_t j = 0; j < options_.lengths[r]; ++j) {
      if (j % page == 0)
        table_[r * table_stride + j / page] = *next++;
      const std::int64_t block = table_[r * table_stride + j / page];
      for (std::int64_t h = 0; h < options_.kv_heads; ++h)
        for (std::int64_t d = 0; d < options_.qk_dim; ++d)
          cache_[block * block_stride + j % page * row_stride + h * head_stride + d] =
              bits_of(normal(random));
    }
}

CaseResult DenseCase::run(const KernelTable& kernels, const schedule::SplitParams& params) {
  AlignedMemory plan_memory(schedule::PlanLayout(params).bytes);
  AlignedMemory run_memory(PartialLayout(problem_, params, Partials::form(problem_)).bytes());
  PlannedProblem planned{.problem = problem_,
                         .params = params,
                         .plan_workspace = plan_memory.data(),
                         .computation = nullptr};
  cpu_backend().schedule(planned, {options_.lengths.data(), DType::i32, {problem_.batch}}, nullptr);

  const std::int64_t rows = problem_.batch * options_.query_tokens * options_.query_heads;
  const std::int64_t stride = v_dim + (options_.strided ? 6 : 0);
  std::vector<std::uint16_t> out(static_cast<std::size_t>(rows * stride), nan_bits);
  CaseResult result{std::vector<std::uint16_t>(static_cast<std::size_t>(rows * v_dim)),
                    std::vector<std::uint32_t>(static_cast<std::size_t>(rows), 0x7fffffffu), 0};
  Outputs outputs;
  outputs.out = {out.data(),
                 options_.type,
                 {problem_.batch, options_.query_tokens, options_.query_heads, v_dim},
                 {options_.query_tokens * options_.query_heads * stride,
                  options_.query_heads * stride, stride, 1}};
  outputs.lse = {result.lse.data(),
                 DType::fp32,
                 {problem_.batch, options_.query_heads, options_.query_tokens}};
  run_dense_decode(kernels, planned, inputs_, outputs, options_.softmax_scale, run_memory.data());
  for (std::int64_t row = 0; row < rows; ++row) {
    std::copy_n(out.begin() + row * stride, v_dim, result.out.begin() + row * v_dim);
    for (std::int64_t gap = v_dim; gap < stride; ++gap)
      EXPECT_EQ(out[row * stride + gap], nan_bits) << "written between rows, row " << row;
  }
  result.status = cpu_backend().status(planned, nullptr);
  return result;
}

CaseResult DenseCase::run() {
  return run(chosen_kernels(), cpu_backend().decide(problem_)->params);
}

void DenseCase::expect_right(const CaseResult& result) const {
  SCOPED_TRACE(describe(options_));
  EXPECT_EQ(result.status, 0);
  for (std::int64_t r = 0; r < problem_.batch; ++r)
    for (std::int64_t t = 0; t < options_.query_tokens; ++t)
      for (std::int64_t h = 0; h < options_.query_heads; ++h) {
        expect_row(result, r, t, h);
        if (::testing::Test::HasFailure())
          return;
      }
}

void DenseCase::expect_row(const CaseResult& result, std::int64_t r, std::int64_t t,
                           std::int64_t h) const {
  SCOPED_TRACE(::testing::Message() << "request " << r << " token " << t << " head " << h);
  const std::int64_t length = options_.lengths[r];
  const std::int64_t visible =
      options_.causal ? std::max<std::int64_t>(0, length - options_.query_tokens + t + 1) : length;
  const std::int64_t kv_head = h * options_.kv_heads / options_.query_heads;
  const auto& strides = inputs_.q.strides;
  std::vector<double> scores;
  for (std::int64_t j = 0; j < visible; ++j) {
    double score = 0;
    for (std::int64_t d = 0; d < options_.qk_dim; ++d)
      score += number(query_[r * strides[0] + t * strides[1] + h * strides[2] + d]) *
               key(r, j, kv_head, d);
    scores.push_back(score * options_.softmax_scale);
  }
  const std::int64_t row = (r * options_.query_tokens + t) * options_.query_heads + h;
  const auto lse =
      std::bit_cast<float>(result.lse[(r * options_.query_heads + h) * options_.query_tokens + t]);
  if (visible == 0) {
    EXPECT_EQ(lse, infinity);
    for (std::int64_t d = 0; d < v_dim; ++d)
      ASSERT_EQ(number(result.out[row * v_dim + d]), 0.0) << "dim " << d;
    return;
  }
  const double largest = *std::max_element(scores.begin(), scores.end());
  double sum = 0;
  for (const double score : scores)
    sum += std::exp(score - largest);
  const double expected_lse = largest + std::log(sum);
  EXPECT_LE(std::fabs(lse - expected_lse), 1e-5 * std::max(1.0, std::fabs(expected_lse)));

  const double kept = sink_.empty() ? 1.0 : 1.0 / (1.0 + std::exp(sink_[h] - expected_lse));
  double error = 0;
  double rounding = 0;  // error of the exact result, rounded to the type of the output
  double norm = 0;
  for (std::int64_t d = 0; d < v_dim; ++d) {
    double expected = 0;
    for (std::int64_t j = 0; j < visible; ++j)
      expected += std::exp(scores[j] - expected_lse) * key(r, j, kv_head, d);
    expected *= kept;
    const double difference = number(result.out[row * v_dim + d]) - expected;
    const double rounded = number(bits_of(static_cast<float>(expected))) - expected;
    error += difference * difference;
    rounding += rounded * rounded;
    norm += expected * expected;
  }
  EXPECT_LE(std::sqrt(error), 1.02 * std::sqrt(rounding) + 1e-5 * std::sqrt(norm));
}

double DenseCase::key(std::int64_t request, std::int64_t token, std::int64_t kv_head,
                      std::int64_t dim) const {
  const auto& strides = inputs_.kv_cache.strides;
  const std::int64_t block =
      table_[request * inputs_.block_table.strides[0] + token / options_.page_size];
  return number(cache_[block * strides[0] + token % options_.page_size * strides[1] +
                       kv_head * strides[2] + dim]);
}

double DenseCase::number(std::uint16_t bits) const {
  return options_.type == DType::bf16 ? bf16_to_float(bits) : fp16_to_float(bits);
}

std::uint16_t DenseCase::bits_of(float value) const {
  return options_.type == DType::bf16 ? float_to_bf16(value) : float_to_fp16(value);
}

}  // namespace flashmla::backends::cpu
