// Every tensor of append(), gather(), quantise() and dequantise() over an FP8 cache is wrong once,
// through C++ and through C.
#include <gtest/gtest.h>

#include <array>
#include <vector>

#include "as_c.h"
#include "expect_rejected.h"
#include "flashmla/flashmla.h"

namespace flashmla::tests {
namespace {

constexpr Device other_device{DeviceType::cuda, 1};

// A v32 cache of two pages of four tokens.
struct CacheCall {
  std::vector<std::uint8_t> cache = std::vector<std::uint8_t>(2 * 4 * 656, 0x5a);
  std::vector<std::uint16_t> rows = std::vector<std::uint16_t>(8 * 576, 0x3f80);
  std::array<std::int64_t, 3> slots{3, 0, 7};
  TensorView cache_view{cache.data(), DType::u8, {2, 4, 1, 656}};
  TensorView rows_view{rows.data(), DType::bf16, {3, 1, 576}};
  TensorView plain_view{rows.data(), DType::bf16, {2, 4, 1, 576}};
  TensorView slots_view{slots.data(), DType::i64, {3}};
  KvFormat format = KvFormat::v32;

  void append() const { flashmla::append(cache_view, format, rows_view, slots_view); }
  void gather() const { flashmla::gather(cache_view, format, slots_view, rows_view); }
  void quantise() const { flashmla::quantise(plain_view, cache_view, format); }
  void dequantise() const { flashmla::dequantise(cache_view, format, plain_view); }

  std::int32_t c_format() const { return static_cast<std::int32_t>(format); }
  flashmla_status c_append() const {
    CTensors c;
    return flashmla_append(c(cache_view), c_format(), c(rows_view), c(slots_view), nullptr);
  }
  flashmla_status c_gather() const {
    CTensors c;
    return flashmla_gather(c(cache_view), c_format(), c(slots_view), c(rows_view), nullptr);
  }
  flashmla_status c_quantise() const {
    CTensors c;
    return flashmla_quantise(c(plain_view), c(cache_view), c_format(), nullptr);
  }
  flashmla_status c_dequantise() const {
    CTensors c;
    return flashmla_dequantise(c(cache_view), c_format(), c(plain_view), nullptr);
  }
};

struct BothCalls {
  void (CacheCall::*cpp)() const;
  flashmla_status (CacheCall::*c)() const;
};
constexpr BothCalls append_calls{&CacheCall::append, &CacheCall::c_append};
constexpr BothCalls gather_calls{&CacheCall::gather, &CacheCall::c_gather};
constexpr BothCalls quantise_calls{&CacheCall::quantise, &CacheCall::c_quantise};
constexpr BothCalls dequantise_calls{&CacheCall::dequantise, &CacheCall::c_dequantise};

struct WrongCall {
  const char* argument;
  const char* given;
  void (*spoil)(CacheCall&);
};

void expect_all_rejected(std::initializer_list<BothCalls> calls, const WrongCall& wrong) {
  for (const BothCalls& call : calls) {
    CacheCall sound;
    const auto cache = sound.cache;
    const auto rows = sound.rows;
    wrong.spoil(sound);
    expect_rejected([&] { (sound.*call.cpp)(); }, wrong.argument, wrong.given);
    expect_c_rejected((sound.*call.c)(), in_c(wrong.argument), wrong.given);
    EXPECT_EQ(sound.cache, cache);
    EXPECT_EQ(sound.rows, rows);
  }
  CacheCall sound;
  for (const BothCalls& call : {append_calls, gather_calls, quantise_calls, dequantise_calls}) {
    (sound.*call.cpp)();
    EXPECT_EQ((sound.*call.c)(), FLASHMLA_OK);
  }
}

class WrongCacheTensor : public testing::TestWithParam<WrongCall> {};
TEST_P(WrongCacheTensor, IsRejectedByEveryCall) {
  expect_all_rejected({append_calls, gather_calls, quantise_calls, dequantise_calls}, GetParam());
}
INSTANTIATE_TEST_SUITE_P(
    EachTensor, WrongCacheTensor,
    testing::Values(
        WrongCall{"format", "11", [](CacheCall& c) { c.format = static_cast<KvFormat>(11); }},
        WrongCall{"cache", "no tensor", [](CacheCall& c) { c.cache_view = {}; }},
        WrongCall{"cache", "null", [](CacheCall& c) { c.cache_view.data = nullptr; }},
        WrongCall{"cache", "bf16", [](CacheCall& c) { c.cache_view.dtype = DType::bf16; }},
        WrongCall{"cache", "[2, 4, 1]", [](CacheCall& c) { c.cache_view.rank = 3; }},
        WrongCall{"cache", "[2, 4, 1, 584]", [](CacheCall& c) { c.cache_view.shape[3] = 584; }},
        WrongCall{"cache", "[2, 4, 2, 656]", [](CacheCall& c) { c.cache_view.shape[2] = 2; }},
        WrongCall{"cache", "[2, -4, 1, 656]", [](CacheCall& c) { c.cache_view.shape[1] = -4; }},
        WrongCall{"cache", "stride 700", [](CacheCall& c) { c.cache_view.strides[1] = 700; }},
        WrongCall{"cache", "strides", [](CacheCall& c) { c.cache_view.strides[3] = 2; }},
        WrongCall{"cache", "strides", [](CacheCall& c) { c.cache_view.strides[0] = -656; }},
        WrongCall{"cache", "strides",
                  [](CacheCall& c) { c.cache_view.strides[0] = std::int64_t{1} << 62; }}));

class WrongRows : public testing::TestWithParam<WrongCall> {};
TEST_P(WrongRows, AreRejectedByName) {
  expect_all_rejected({append_calls, gather_calls}, GetParam());
}
INSTANTIATE_TEST_SUITE_P(
    EachTensor, WrongRows,
    testing::Values(
        WrongCall{"rows", "no tensor", [](CacheCall& c) { c.rows_view = {}; }},
        WrongCall{
            "rows", "misaligned",
            [](CacheCall& c) { c.rows_view.data = reinterpret_cast<char*>(c.rows_view.data) + 1; }},
        WrongCall{"rows", "fp16", [](CacheCall& c) { c.rows_view.dtype = DType::fp16; }},
        WrongCall{"rows", "[3, 1, 512]", [](CacheCall& c) { c.rows_view.shape[2] = 512; }},
        WrongCall{"rows", "[3, 2, 576]", [](CacheCall& c) { c.rows_view.shape[1] = 2; }},
        WrongCall{"rows", "cuda:1", [](CacheCall& c) { c.rows_view.device = other_device; }},
        WrongCall{"rows", "strides", [](CacheCall& c) { c.rows_view.strides[2] = 2; }},
        WrongCall{"slots", "no tensor", [](CacheCall& c) { c.slots_view = {}; }},
        WrongCall{"slots", "bf16", [](CacheCall& c) { c.slots_view.dtype = DType::bf16; }},
        WrongCall{"slots", "[2]", [](CacheCall& c) { c.slots_view.shape[0] = 2; }},
        WrongCall{"slots", "cuda:1", [](CacheCall& c) { c.slots_view.device = other_device; }},
        WrongCall{"slots", "strides", [](CacheCall& c) { c.slots_view.strides[0] = 0; }}));

class WrongPlain : public testing::TestWithParam<WrongCall> {};
TEST_P(WrongPlain, IsRejectedByName) {
  expect_all_rejected({quantise_calls, dequantise_calls}, GetParam());
}
INSTANTIATE_TEST_SUITE_P(
    EachTensor, WrongPlain,
    testing::Values(
        WrongCall{"plain", "no tensor", [](CacheCall& c) { c.plain_view = {}; }},
        WrongCall{"plain", "fp32", [](CacheCall& c) { c.plain_view.dtype = DType::fp32; }},
        WrongCall{"plain", "[2, 4, 1, 512]", [](CacheCall& c) { c.plain_view.shape[3] = 512; }},
        WrongCall{"plain", "strides", [](CacheCall& c) { c.plain_view.strides[3] = 3; }},
        WrongCall{"cache", "[2, 4, 1, 656]", [](CacheCall& c) { c.plain_view.shape[0] = 1; }},
        WrongCall{"cache", "[2, 4, 1, 656]", [](CacheCall& c) { c.plain_view.shape[1] = 3; }},
        WrongCall{"plain", "cuda:1", [](CacheCall& c) { c.plain_view.device = other_device; }}));

class Overlapping : public testing::Test {
 protected:
  CacheCall call_;
};

TEST_F(Overlapping, TargetsAreRejected) {
  call_.cache_view.strides[0] = 2 * 656;
  expect_rejected([&] { call_.append(); }, "cache", "strides");
  expect_rejected([&] { call_.quantise(); }, "cache", "strides");
  EXPECT_NO_THROW(call_.gather());  // pages that are only read may overlap
  call_.rows_view.strides[0] = 100;
  expect_rejected([&] { call_.gather(); }, "rows", "strides");
  call_.plain_view.strides[0] = 0;
  expect_rejected([&] { call_.dequantise(); }, "plain", "strides");
}

}  // namespace
}  // namespace flashmla::tests
