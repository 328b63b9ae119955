// The verdicts of the runner on sparse cases. A right result passes, and each kind of wrong result
// is found. The results come from the oracle, so these tests need no backend.
#include "support/sparse_runner.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <set>

#include "flashmla/error.h"
#include "support/fp8.h"
#include "support/numeric.h"
#include "support/oracle.h"
#include "support/random.h"

namespace flashmla::support {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::IsEmpty;

SparseCase some_case(AttentionKind kind) {
  SparseCase c;
  c.seed = fresh_seed();
  c.kind = kind;
  c.format = kind == AttentionKind::sparse_decode ? KvFormat::v32 : KvFormat::bf16;
  c.batch = kind == AttentionKind::sparse_decode ? 2 : 1;
  c.query_tokens = 3;
  c.query_heads = 4;
  c.page_size = kind == AttentionKind::sparse_decode ? 16 : 1;
  c.num_pages = kind == AttentionKind::sparse_decode ? 9 : 150;
  c.topk = 140;
  c.sink = true;
  c.out_padding = 8;
  return c;
}

std::uint16_t* out_row(SparseTensors& t, std::int64_t r, std::int64_t token, std::int64_t h) {
  return static_cast<std::uint16_t*>(t.out.view.data) + offset_of(t.out.view, {r, token, h, 0});
}

std::int64_t place(const SparseTensors& t, const RowIndex& row) {
  return t.sparse_case.prefill() ? offset_of(t.lse.view, {row.query_token, row.head})
                                 : offset_of(t.lse.view, {row.request, row.head, row.query_token});
}

float& lse_of(SparseTensors& t, const RowIndex& row) {
  return static_cast<float*>(t.lse.view.data)[place(t, row)];
}

float& max_logit_of(SparseTensors& t, const RowIndex& row) {
  return static_cast<float*>(t.max_logits.view.data)[place(t, row)];
}

void compute(SparseTensors& tensors) {
  for (const RowIndex& row : rows_to_check(tensors.sparse_case)) {
    const Reference reference = reference_of(tensors, {&row, 1})[0];
    const std::vector<float> out(reference.out.begin(), reference.out.end());
    encode(DType::bf16, out,
           {out_row(tensors, row.request, row.query_token, row.head), out.size()});
    lse_of(tensors, row) = static_cast<float>(reference.lse);
    if (tensors.sparse_case.prefill())
      max_logit_of(tensors, row) = static_cast<float>(reference.max_logit);
  }
}

std::string faults(AttentionKind kind, const std::function<void(SparseTensors&)>& spoil) {
  HostMemory memory;
  const CaseResult result =
      run_case(some_case(kind), memory, [&](SparseTensors& tensors, CaseResult&) {
        compute(tensors);
        spoil(tensors);
      });
  std::string all;
  for (const std::string& fault : result.faults)
    all += fault + "\n";
  return all;
}

constexpr AttentionKind decode_kind = AttentionKind::sparse_decode;
constexpr AttentionKind prefill_kind = AttentionKind::sparse_prefill;

TEST(SparseRunner, RightResultsPass) {
  EXPECT_THAT(faults(decode_kind, [](SparseTensors&) {}), IsEmpty());
  EXPECT_THAT(faults(prefill_kind, [](SparseTensors&) {}), IsEmpty());
}

TEST(SparseRunner, FindsWrongNumbers) {
  EXPECT_THAT(
      faults(decode_kind, [](SparseTensors& t) { out_row(t, 1, 2, 3)[5] = float_to_bf16(3); }),
      HasSubstr("out_row: 1 of 24"));
  EXPECT_THAT(faults(decode_kind, [](SparseTensors& t) { lse_of(t, {0, 1, 2}) += 0.01f; }),
              HasSubstr("lse: 1 of 24"));
  EXPECT_THAT(faults(prefill_kind, [](SparseTensors& t) { max_logit_of(t, {0, 1, 2}) += 0.01f; }),
              HasSubstr("max_logit: 1 of 12"));
  EXPECT_THAT(faults(prefill_kind, [](SparseTensors& t) { max_logit_of(t, {0, 0, 0}) = NAN; }),
              HasSubstr("max_logit: 1 of 12"));
  EXPECT_THAT(faults(prefill_kind, [](SparseTensors& t) { out_row(t, 0, 2, 3)[0] = 0xffff; }),
              HasSubstr("query token 2, head 3"));
}

TEST(SparseRunner, FindsWritesToForeignMemory) {
  EXPECT_THAT(faults(decode_kind, [](SparseTensors& t) { out_row(t, 0, 0, 0)[512] = 1; }),
              HasSubstr("between rows of out"));
  EXPECT_THAT(
      faults(decode_kind, [](SparseTensors& t) { static_cast<float*>(t.lse.view.data)[-1] = 1; }),
      HasSubstr("around lse"));
  EXPECT_THAT(faults(decode_kind,
                     [](SparseTensors& t) {
                       static_cast<std::int32_t*>(t.main.indices.view.data)[3] ^= 1;
                     }),
              HasSubstr("indices were written"));
  EXPECT_THAT(faults(decode_kind, [](SparseTensors& t) { max_logit_of(t, {0, 0, 0}) = 1; }),
              HasSubstr("max_logits was written to unasked"));
}

TEST(SparseRunner, ErrorsOfTheLibraryAreFaults) {
  HostMemory memory;
  const auto run = [&](ErrorCode code) {
    return run_case(some_case(decode_kind), memory,
                    [&](SparseTensors&, CaseResult&) { throw Error(code, "q", "that", "this"); });
  };
  EXPECT_THAT(run(ErrorCode::invalid_argument).faults.at(0), HasSubstr("threw"));
  EXPECT_THROW(run(ErrorCode::unsupported), Error);
}

// A case in which about half of the query tokens attend to a row with NaN.
SparseCase case_with_nan(KvFormat format) {
  SparseCase c = some_case(decode_kind);
  c.format = format;
  c.qk_dim = is_plain(format) ? 576 : format_qk_dim(format);
  c.nan_rows = true;
  c.batch = 6;
  c.num_pages = 400;
  return c;
}

// What `spoil` does to the right result, given a row with NaN and one without, is found.
std::string faults_with_nan(
    KvFormat format,
    const std::function<void(SparseTensors&, const RowIndex& nan, const RowIndex& sound)>& spoil) {
  HostMemory memory;
  std::string all;
  const CaseResult result =
      run_case(case_with_nan(format), memory, [&](SparseTensors& tensors, CaseResult&) {
        compute(tensors);
        const SparseCase& c = tensors.sparse_case;
        const auto row_with = [&](RowContent content) {
          const std::int64_t i =
              std::ranges::find(tensors.contents, content) - tensors.contents.begin();
          EXPECT_LT(i, std::ssize(tensors.contents)) << describe(c);
          return RowIndex{i / c.query_tokens, i % c.query_tokens, 1};
        };
        spoil(tensors, row_with(RowContent::nan), row_with(RowContent::numbers));
      });
  for (const std::string& fault : result.faults)
    all += fault + "\n";
  return all;
}

TEST(SparseRunner, RowsWithNanAreNanAndOthersAreNot) {
  for (const KvFormat format : {KvFormat::bf16, KvFormat::v32, KvFormat::v4}) {
    EXPECT_THAT(faults_with_nan(format, [](auto&, auto&, auto&) {}), IsEmpty());
    EXPECT_THAT(faults_with_nan(format,
                                [](SparseTensors& t, const RowIndex& nan, const RowIndex&) {
                                  out_row(t, nan.request, nan.query_token, nan.head)[511] = 0;
                                }),
                AllOf(HasSubstr("wanted NaN"), HasSubstr("out_row: 1 of 72")));
    EXPECT_THAT(faults_with_nan(format, [](SparseTensors& t, const RowIndex& nan,
                                           const RowIndex&) { lse_of(t, nan) = INFINITY; }),
                AllOf(HasSubstr("lse is inf, wanted NaN"), HasSubstr("lse: 1 of 72")));
    EXPECT_THAT(faults_with_nan(format,
                                [](SparseTensors& t, const RowIndex&, const RowIndex& sound) {
                                  out_row(t, sound.request, sound.query_token, sound.head)[7] =
                                      0x7fc0;
                                }),
                HasSubstr("out_row: 1 of 72"));
  }
}

// The rows of the oracle are the tokens that the lists name, in order, without the poisoned ones.
TEST(SparseTensorsTest, AttendedRowsAreThoseOfTheCountedSlots) {
  SparseCase c = some_case(decode_kind);
  c.topk_length = true;
  c.empty_lists = true;
  c.invalid_share = 0.3;
  c.poisoned_share = 0.5;
  c.extra_topk = 9;
  c.extra_page_size = 4;
  c.extra_pages = 3;
  HostMemory memory;
  SparseTensors tensors(c, memory);
  for (std::int64_t r = 0; r < c.batch; ++r)
    for (std::int64_t t = 0; t < c.query_tokens; ++t) {
      const auto numbers = tensors.attended(r, t);
      for (const std::uint16_t number : numbers)
        ASSERT_TRUE(std::isfinite(bf16_to_float(number)));
      EXPECT_EQ(tensors.contents[static_cast<std::size_t>(r * c.query_tokens + t)],
                numbers.empty() ? RowContent::nothing : RowContent::numbers);
    }
  const std::size_t slots = tensors.main.live.size();
  EXPECT_GT(slots, 20u);
  EXPECT_LT(slots, 130u);
}

// Every kind of hole, and lists over a few slots of a large cache.
TEST(SparseTensorsTest, HolesAndLiveSlots) {
  HostMemory memory;
  SparseCase c = some_case(decode_kind);
  c.topk = 2'000;
  c.num_pages = 500;
  c.live_slots = 50;
  const auto counted = [&] {
    SparseTensors tensors(c, memory);
    EXPECT_EQ(tensors.main.live.size(), 50u);
    return tensors.attended(1, 2).size() / 576;
  };
  EXPECT_EQ(counted(), 2'000u);
  c.holes = Holes::all;
  EXPECT_EQ(counted(), 0u);
  c.holes = Holes::tail;
  EXPECT_LE(counted(), 500u);
  EXPECT_GT(counted(), 0u);
  c.holes = Holes::runs;
  EXPECT_LT(counted(), 1'500u);
  EXPECT_GT(counted(), 50u);
}

// A list of distinct slots repeats none before it has named all.
TEST(SparseTensorsTest, DistinctSlots) {
  HostMemory memory;
  SparseCase c = some_case(decode_kind);  // 140 entries, 144 slots
  const auto different = [&] {
    SparseTensors tensors(c, memory);
    EXPECT_EQ(tensors.attended(1, 2).size() / 576, c.topk + c.extra_topk);
    return tensors.different_tokens(1, 2);
  };
  EXPECT_LT(different(), 120);  // about 144 · (1 − e^(−140/144)) = 90
  c.distinct = true;
  EXPECT_EQ(different(), 140);
  c.topk = 300;
  EXPECT_EQ(different(), 144);
  c.extra_topk = 60;  // slots of the other cache are other tokens
  c.extra_page_size = 5;
  c.extra_pages = 10;
  EXPECT_EQ(different(), 144 + 50);
}

// Lists that name few slots many times are none for the element rule: their errors of rounding do
// not average out.
TEST(SparseRunner, RepeatedSlotsCountOnce) {
  HostMemory memory;
  SparseCase c = some_case(decode_kind);
  c.distinct = true;
  c.topk = 400;
  const auto elements = [&] {
    const CaseResult result =
        run_case(c, memory, [](SparseTensors& tensors, CaseResult&) { compute(tensors); });
    EXPECT_THAT(result.faults, IsEmpty());
    return result.errors.element.count;
  };
  EXPECT_EQ(elements(), 24 * 513);  // out and lse of all rows
  c.num_pages = 7;                  // 112 slots
  EXPECT_EQ(elements(), 0);
}

// Scales of every kind are there, and every number stays of unit scale.
TEST(SparseTensorsTest, HostileScales) {
  HostMemory memory;
  for (const KvFormat format : {KvFormat::v32, KvFormat::v4}) {
    SparseCase c = some_case(decode_kind);
    c.format = format;
    c.qk_dim = format_qk_dim(format);
    c.hostile_scales = true;
    SparseTensors tensors(c, memory);
    SCOPED_TRACE(describe(c));
    for (const std::uint16_t number : tensors.attended(0, 0))
      ASSERT_LE(std::abs(bf16_to_float(number)), 3.75f);
    int zero = 0, negative = 0, tiny = 0, large = 0, huge = 0;
    for (const std::int32_t slot :
         std::set<std::int32_t>(tensors.main.live.begin(), tensors.main.live.end())) {
      const auto page = offset_of(tensors.main.cache.view, {slot / 16, 0});
      const Fp8Token token =
          fetch_token(format, slot % 16, 16, tensors.main.cache.buffer.image().data() + page);
      for (const float scale : token.scales) {
        zero += scale == 0 ? 1 : 0;
        negative += scale < 0 ? 1 : 0;
        tiny += scale != 0 && std::abs(scale) < 0x1p-126f ? 1 : 0;
        large += std::abs(scale) >= 128 && std::abs(scale) <= 256 ? 1 : 0;
        huge += std::abs(scale) >= 0x1p100f ? 1 : 0;
      }
    }
    for (const int count : {tiny, large, huge})
      EXPECT_GT(count, 5);
    const int least = format == KvFormat::v32 ? 5 : -1;  // scales of v4 are powers of two
    EXPECT_GT(zero, least);
    EXPECT_GT(negative, least);
  }
}

// As GPUs want them: q's rows and the pages begin at multiples of 16 bytes.
TEST(SparseTensorsTest, AlignedStrides) {
  HostMemory memory;
  SparseCase c = some_case(decode_kind);
  c.format = KvFormat::v4;
  c.qk_dim = 512;
  c.page_size = 3;
  c.q_padding = 3;
  c.cache_padding = 8;
  c.aligned = true;
  SparseTensors tensors(c, memory);
  EXPECT_EQ(tensors.q.view.strides[2], 520);
  EXPECT_EQ(tensors.main.cache.view.strides[0], 1760);
}

TEST(SparseRunner, ChoosesRowsOfLargeCases) {
  SparseCase c = some_case(decode_kind);
  c.batch = 50;
  c.query_heads = 128;
  c.topk = 4096;
  const std::vector<RowIndex> rows = rows_to_check(c);
  EXPECT_EQ(std::set<RowIndex>(rows.begin(), rows.end()).size(), 64u);
  EXPECT_EQ(rows.front(), (RowIndex{0, 0, 0}));
  EXPECT_EQ(rows.back(), (RowIndex{49, 2, 127}));
}

}  // namespace
}  // namespace flashmla::support
