// Every tensor of append() and merge() is wrong once, through C++ and through C.
#include <gtest/gtest.h>

#include <array>

#include "as_c.h"
#include "expect_rejected.h"
#include "flashmla/flashmla.h"

namespace flashmla::tests {
namespace {

struct AppendCall {
  std::vector<std::uint16_t> cache = std::vector<std::uint16_t>(3 * 4 * 2 * 512, 0x4001);
  std::vector<std::uint16_t> rows = std::vector<std::uint16_t>(5 * 2 * 512, 0x3f80);
  std::array<std::int64_t, 5> slots{3, 0, 11, -1, 12};
  TensorView cache_view{cache.data(), DType::bf16, {3, 4, 2, 512}};
  TensorView rows_view{rows.data(), DType::bf16, {5, 2, 512}};
  TensorView slots_view{slots.data(), DType::i64, {5}};
  KvFormat format = KvFormat::bf16;

  void operator()() const { append(cache_view, format, rows_view, slots_view); }
  flashmla_status through_c() const {
    CTensors c;
    return flashmla_append(c(cache_view), static_cast<std::int32_t>(format), c(rows_view),
                           c(slots_view), nullptr);
  }
};

struct WrongAppend {
  const char* argument;
  const char* given;
  void (*spoil)(AppendCall&);
};

class Append : public testing::TestWithParam<WrongAppend> {};

TEST_P(Append, IsRejectedByNameAndWritesNothing) {
  AppendCall call;
  const auto before = call.cache;
  GetParam().spoil(call);
  expect_rejected(call, GetParam().argument, GetParam().given);
  expect_c_rejected(call.through_c(), in_c(GetParam().argument), GetParam().given);
  EXPECT_EQ(call.cache, before);
}

INSTANTIATE_TEST_SUITE_P(
    EachTensor, Append,
    testing::Values(
        WrongAppend{"format", "9", [](AppendCall& c) { c.format = static_cast<KvFormat>(9); }},
        WrongAppend{"rows", "bf16", [](AppendCall& c) { c.format = KvFormat::fp16; }},
        WrongAppend{"rows", "no tensor", [](AppendCall& c) { c.rows_view = {}; }},
        WrongAppend{"rows", "[5, 2]", [](AppendCall& c) { c.rows_view.rank = 2; }},
        WrongAppend{"rows", "strides", [](AppendCall& c) { c.rows_view.strides[2] = 2; }},
        WrongAppend{"cache", "no tensor", [](AppendCall& c) { c.cache_view = {}; }},
        WrongAppend{"cache", "fp16", [](AppendCall& c) { c.cache_view.dtype = DType::fp16; }},
        WrongAppend{"cache", "[3, 4, 1, 512]", [](AppendCall& c) { c.cache_view.shape[2] = 1; }},
        WrongAppend{"cache", "[3, 4, 2, 500]", [](AppendCall& c) { c.cache_view.shape[3] = 500; }},
        WrongAppend{"cache", "strides", [](AppendCall& c) { c.cache_view.strides[1] = 3; }},
        WrongAppend{"slots", "fp32", [](AppendCall& c) { c.slots_view.dtype = DType::fp32; }},
        WrongAppend{"rows", "[5, 2, 512]", [](AppendCall& c) { c.format = KvFormat::v4; }},
        WrongAppend{"slots", "[4]", [](AppendCall& c) { c.slots_view.shape[0] = 4; }},
        WrongAppend{"slots", "strides", [](AppendCall& c) { c.slots_view.strides[0] = 2; }},
        WrongAppend{"slots", "cuda:0",
                    [](AppendCall& c) { c.slots_view.device.type = DeviceType::cuda; }}));

TEST(AppendSlots, OutsideTheCacheAreSkipped) {
  AppendCall call;
  call();
  for (std::int64_t slot = 0; slot < 12; ++slot) {
    const bool named = slot == 3 || slot == 0 || slot == 11;
    EXPECT_EQ(call.cache[static_cast<std::size_t>(slot) * 1024], named ? 0x3f80 : 0x4001) << slot;
  }
}

struct MergeCall {
  std::vector<float> a = std::vector<float>(3 * 512, 1.0f);
  std::vector<float> b = std::vector<float>(3 * 512, 3.0f);
  std::array<float, 3> lse_a{0.5f, 0.5f, 0.5f};
  std::array<float, 3> lse_b{0.5f, 0.5f, 0.5f};
  std::array<float, 3> sink{0, 0, 0};
  std::vector<float> out = std::vector<float>(3 * 512, -7.0f);
  std::array<float, 3> lse{-7, -7, -7};
  std::vector<PartialResult> parts{{TensorView(a.data(), DType::fp32, {1, 1, 3, 512}),
                                    TensorView(lse_a.data(), DType::fp32, {1, 3, 1})},
                                   {TensorView(b.data(), DType::fp32, {1, 1, 3, 512}),
                                    TensorView(lse_b.data(), DType::fp32, {1, 3, 1})}};
  TensorView sink_view{sink.data(), DType::fp32, {3}};
  Outputs outputs{.out = {out.data(), DType::fp32, {1, 1, 3, 512}},
                  .lse = {lse.data(), DType::fp32, {1, 3, 1}}};

  void operator()() const { merge(parts, sink_view, outputs); }
  flashmla_status through_c() const {
    CTensors c;
    std::vector<const flashmla_tensor*> outs;
    std::vector<const flashmla_tensor*> lses;
    for (const PartialResult& part : parts) {
      outs.push_back(c(part.out));
      lses.push_back(c(part.lse));
    }
    const flashmla_outputs merged = c(outputs);
    return flashmla_merge(outs.data(), lses.data(), parts.size(), c(sink_view), &merged, nullptr);
  }
};

struct WrongMerge {
  const char* argument;
  const char* given;
  void (*spoil)(MergeCall&);
};

class Merge : public testing::TestWithParam<WrongMerge> {};

TEST_P(Merge, IsRejectedByNameAndWritesNothing) {
  MergeCall call;
  GetParam().spoil(call);
  expect_rejected(call, GetParam().argument, GetParam().given);
  expect_c_rejected(call.through_c(), in_c(GetParam().argument), GetParam().given);
  EXPECT_THAT(call.out, testing::Each(-7.0f));
  EXPECT_THAT(call.lse, testing::Each(-7.0f));
}

INSTANTIATE_TEST_SUITE_P(
    EachTensor, Merge,
    testing::Values(
        WrongMerge{"parts", "none", [](MergeCall& c) { c.parts.clear(); }},
        WrongMerge{"parts[1].out", "no tensor", [](MergeCall& c) { c.parts[1].out = {}; }},
        WrongMerge{"parts[1].out", "i32", [](MergeCall& c) { c.parts[1].out.dtype = DType::i32; }},
        WrongMerge{"parts[0].out", "[1, 1, 2, 512]",
                   [](MergeCall& c) { c.parts[0].out.shape[2] = 2; }},
        WrongMerge{"parts[1].lse", "[1, 2, 1]", [](MergeCall& c) { c.parts[1].lse.shape[1] = 2; }},
        WrongMerge{"parts[0].lse", "fp16",
                   [](MergeCall& c) { c.parts[0].lse.dtype = DType::fp16; }},
        WrongMerge{"parts[0].lse", "strides", [](MergeCall& c) { c.parts[0].lse.strides[1] = -1; }},
        WrongMerge{"attn_sink", "[2]", [](MergeCall& c) { c.sink_view.shape[0] = 2; }},
        WrongMerge{"out", "i32", [](MergeCall& c) { c.outputs.out.dtype = DType::i32; }},
        WrongMerge{"out", "strides", [](MergeCall& c) { c.outputs.out.strides[2] = 1; }},
        WrongMerge{"lse", "[1, 2, 1]", [](MergeCall& c) { c.outputs.lse.shape[1] = 2; }},
        WrongMerge{"lse", "strides", [](MergeCall& c) { c.outputs.lse.strides[1] = 0; }},
        WrongMerge{"max_logits", "fp32",
                   [](MergeCall& c) { c.outputs.max_logits = c.outputs.lse; }},
        WrongMerge{"lse_base", "7",
                   [](MergeCall& c) { c.outputs.lse_base = static_cast<LseBase>(7); }},
        WrongMerge{"empty_lse", "2",
                   [](MergeCall& c) { c.outputs.empty_lse = static_cast<EmptyLse>(2); }}));

TEST(MergeResult, OfEqualWeightsIsTheMeanAndTheSinkCountsOnce) {
  MergeCall call;
  call();
  const float total = 2 * std::exp(0.5f);
  EXPECT_NEAR(call.lse[0], std::log(total), 1e-6);
  EXPECT_NEAR(call.out[0], 2.0f * total / (total + 1.0f), 1e-6);
}

}  // namespace
}  // namespace flashmla::tests
