// Loads, stores, copies and conversions of single values.
#include "sm90/ptx/load_store.h"

#include <bit>
#include <cmath>
#include <limits>

#include "tests/sm90/drawn.h"
#include "tests/sm90/on_device.h"

namespace flashmla::sm90::ptx {

namespace {

using test::Memory;

constexpr float infinity = std::numeric_limits<float>::infinity();

// --- Shared memory ---

// Words 0 … 6 by the three stores, then read by the three loads.
struct SharedWords {
  float* stored;  // [8], through a pointer
  float* loaded;  // [8], through load_shared_unit, load_shared_pair, load_shared

  FLASHMLA_DEVICE void operator()(const test::Shared& shared) const {
    const std::uint32_t at = shared.address;
    store_shared(
        at, uint4{__float_as_uint(1), __float_as_uint(2), __float_as_uint(3), __float_as_uint(4)});
    store_shared(at + 16, float2{5, 6});
    store_shared(at + 24, 7.0f);
    for (int i = 0; i < 8; ++i)
      stored[i] = reinterpret_cast<const float*>(shared.bytes)[i];
    const uint4 unit = load_shared_unit(at);
    const float2 pair = load_shared_pair(at + 16);
    const float all[7] = {__uint_as_float(unit.x),
                          __uint_as_float(unit.y),
                          __uint_as_float(unit.z),
                          __uint_as_float(unit.w),
                          pair.x,
                          pair.y,
                          load_shared(at + 24)};
    for (int i = 0; i < 7; ++i)
      loaded[i] = all[i];
  }
};

class LoadStore : public test::DeviceTest {};

TEST_F(LoadStore, OfSharedMemoryMoveOneTwoOrFourWords) {
  Memory<float> stored(8);
  Memory<float> loaded(8);
  test::run_blocks({.threads = 1, .shared_bytes = 64}, SharedWords{stored.data(), loaded.data()});
  const std::vector<float> there = stored.read();
  const std::vector<float> got = loaded.read();
  for (std::size_t i = 0; i < 7; ++i) {
    EXPECT_EQ(there[i], static_cast<float>(i + 1));
    EXPECT_EQ(got[i], static_cast<float>(i + 1));
  }
  EXPECT_TRUE(std::isnan(there[7])) << "the word behind them is left alone";
}

// --- Asynchronous copies ---

// Each thread copies unit i of `source` to unit threads − 1 − i, in one of two groups; units whose
// number is a multiple of three are not wanted. `first_group`: the lower half of the units after a
// wait that leaves one group under way.
struct Copies {
  const uint4* source;
  uint4* first_group;
  uint4* all;

  FLASHMLA_DEVICE void operator()(const test::Shared& shared) const {
    const int unit = static_cast<int>(threadIdx.x);
    const int units = static_cast<int>(blockDim.x);
    const std::uint32_t to = shared.address + unit * 16;
    const int lower = units - 1 - unit;
    copy_async(to, source + lower, lower % 3 != 0);
    commit_copies();
    const int upper = lower + units;
    copy_async(to + units * 16, upper % 3 != 0 ? source + upper : source, upper % 3 != 0);
    commit_copies();
    wait_for_groups<1>();
    first_group[unit] = load_shared_unit(to);
    wait_for_groups<0>();
    all[unit] = load_shared_unit(to);
    all[unit + units] = load_shared_unit(to + units * 16);
  }
};

TEST_F(LoadStore, CopiesUnitsAndZeroesThoseThatAreNotWanted) {
  constexpr int threads = 64;
  std::vector<uint4> units(2 * threads);
  for (std::uint32_t i = 0; i < units.size(); ++i)
    units[i] = {4 * i + 1, 4 * i + 2, 4 * i + 3, 4 * i + 4};
  Memory<uint4> source(units);
  Memory<uint4> first_group(threads);
  Memory<uint4> all(2 * threads);
  test::run_blocks({.threads = threads, .shared_bytes = 2 * threads * 16},
                   Copies{source.data(), first_group.data(), all.data()});
  const std::vector<uint4> first = first_group.read();
  const std::vector<uint4> got = all.read();
  const auto expect_unit = [&](const uint4& unit, int from) {
    const uint4 wanted = from % 3 != 0 ? units[from] : uint4{};
    EXPECT_TRUE(unit.x == wanted.x && unit.y == wanted.y && unit.z == wanted.z &&
                unit.w == wanted.w)
        << "unit " << from;
  };
  for (int i = 0; i < threads; ++i) {
    expect_unit(first[i], threads - 1 - i);
    expect_unit(got[i], threads - 1 - i);
    expect_unit(got[threads + i], 2 * threads - 1 - i);
  }
}

struct WaitForAll {
  const uint4* source;
  uint4* got;

  FLASHMLA_DEVICE void operator()(const test::Shared& shared) const {
    const std::uint32_t to = shared.address + threadIdx.x * 16;
    copy_async(to, source + threadIdx.x, true);
    wait_for_copies();
    got[threadIdx.x] = load_shared_unit(to);
  }
};

TEST_F(LoadStore, WaitsForCopiesOfNoGroup) {
  std::vector<uint4> units(32);
  for (std::uint32_t i = 0; i < units.size(); ++i)
    units[i] = {i, i + 100, i + 200, i + 300};
  Memory<uint4> source(units);
  Memory<uint4> got(units.size());
  test::run_blocks({.threads = 32, .shared_bytes = 32 * 16}, WaitForAll{source.data(), got.data()});
  const std::vector<uint4> there = got.read();
  for (std::size_t i = 0; i < units.size(); ++i)
    ASSERT_TRUE(there[i].x == units[i].x && there[i].w == units[i].w) << "unit " << i;
}

// --- Conditional loads ---

// NOTE: what is not wanted is given a null pointer, which must not be followed.
struct ConditionalLoads {
  const float* source;  // [4]
  float* got;           // [14]

  FLASHMLA_DEVICE void operator()(const test::Shared&) const {
    got[0] = load_if(true, source + 1, -1);
    got[1] = load_if(false, nullptr, -1);
    const float2 there = load_pair_if(true, source + 2, {-2, -3});
    const float2 absent = load_pair_if(false, nullptr, {-2, -3});
    got[2] = there.x;
    got[3] = there.y;
    got[4] = absent.x;
    got[5] = absent.y;
    const uint4 unit = load_unit_if(true, source);
    const uint4 zeros = load_unit_if(false, nullptr);
    const std::uint32_t words[8] = {unit.x,  unit.y,  unit.z,  unit.w,
                                    zeros.x, zeros.y, zeros.z, zeros.w};
    for (int i = 0; i < 8; ++i)
      got[6 + i] = __uint_as_float(words[i]);
  }
};

TEST_F(LoadStore, LoadsOnlyWhatIsWanted) {
  Memory<float> source(std::vector<float>{1, 2, 3, 4});
  Memory<float> got(14);
  test::run_blocks({.threads = 1}, ConditionalLoads{source.data(), got.data()});
  EXPECT_EQ(got.read(), (std::vector<float>{2, -1, 3, 4, -2, -3, 1, 2, 3, 4, 0, 0, 0, 0}));
}

// --- Fast functions ---

struct FastMath {
  const float* x;
  float* powers;
  float* reciprocals;
  float* logarithms;

  FLASHMLA_DEVICE void operator()(int i) const {
    powers[i] = exp2(x[i]);
    reciprocals[i] = reciprocal(x[i]);
    logarithms[i] = log2(x[i]);
  }
};

TEST_F(LoadStore, FastFunctionsAreGoodTo21Bits) {
  const std::uint64_t seed = support::fresh_seed();
  SCOPED_TRACE(testing::Message() << "seed " << seed);
  support::Random random(seed);
  std::vector<float> x;
  for (int i = 0; i < 20000; ++i)
    x.push_back(static_cast<float>(random.unit() * 120 + 0x1p-20));
  Memory<float> from(x);
  Memory<float> powers(x.size());
  Memory<float> reciprocals(x.size());
  Memory<float> logarithms(x.size());
  test::run_threads(static_cast<int>(x.size()),
                    FastMath{from.data(), powers.data(), reciprocals.data(), logarithms.data()});
  const std::vector<float> got_powers = powers.read();
  const std::vector<float> got_reciprocals = reciprocals.read();
  const std::vector<float> got_logarithms = logarithms.read();
  for (std::size_t i = 0; i < x.size(); ++i) {
    const double value = x[i];
    ASSERT_NEAR(got_powers[i] / std::exp2(value), 1, 0x1p-21) << value;
    ASSERT_NEAR(got_reciprocals[i] * value, 1, 0x1p-21) << value;
    ASSERT_NEAR(got_logarithms[i], std::log2(value),
                0x1p-21 * std::max(1.0, std::abs(std::log2(value))))
        << value;
  }
}

TEST_F(LoadStore, FastFunctionsKnowTheEndsOfTheirRange) {
  Memory<float> from(std::vector<float>{-infinity, -1e30f, 0, infinity});
  Memory<float> powers(4);
  Memory<float> reciprocals(4);
  Memory<float> logarithms(4);
  test::run_threads(4, FastMath{from.data(), powers.data(), reciprocals.data(), logarithms.data()});
  EXPECT_EQ(powers.read(), (std::vector<float>{0, 0, 1, infinity}));
  EXPECT_EQ(reciprocals.read()[2], infinity);
  EXPECT_EQ(reciprocals.read()[3], 0);
  EXPECT_EQ(logarithms.read()[2], -infinity);
  EXPECT_EQ(logarithms.read()[3], infinity);
}

// --- 16-bit numbers ---

template <class T>
struct Pack {
  const float* values;  // [pair][2]
  std::uint32_t* packed;

  FLASHMLA_DEVICE void operator()(int i) const {
    packed[i] = pack<T>(values[2 * i], values[2 * i + 1]);
  }
};

template <class T>
struct Unpack {
  float* values;  // [pair][2], then the same by unpack_in_order
  int pairs;

  FLASHMLA_DEVICE void operator()(int i) const {
    const auto bits = static_cast<std::uint32_t>(i);
    const std::uint32_t pair = bits | (bits ^ 0xffffu) << 16;
    const float2 got = unpack<T>(pair);
    const float2 in_order = unpack_in_order<T>(pair);
    values[2 * i] = got.x;
    values[2 * i + 1] = got.y;
    values[2 * (i + pairs)] = in_order.x;
    values[2 * (i + pairs) + 1] = in_order.y;
  }
};

template <class T>
class ShortNumbers : public test::DeviceTest {};
using Types = testing::Types<__nv_bfloat16, __half>;
TYPED_TEST_SUITE(ShortNumbers, Types);

TYPED_TEST(ShortNumbers, ArePackedToNearestWithTiesToEven) {
  const std::uint64_t seed = support::fresh_seed();
  SCOPED_TRACE(testing::Message() << "seed " << seed);
  support::Random random(seed);
  std::vector<float> values;
  for (int i = 0; i < 20000; ++i) {
    const auto scale = static_cast<float>(std::exp2(random.between(-30, 20)));
    values.push_back(static_cast<float>(random.unit() - 0.5) * scale);
    // A tie of bf16 or fp16: one bit behind those that the number keeps.
    const std::uint32_t bit = std::is_same_v<TypeParam, __nv_bfloat16> ? 1u << 15 : 1u << 12;
    const auto bits = std::bit_cast<std::uint32_t>(values.back());
    values.push_back(std::bit_cast<float>((bits & ~(2 * bit - 1)) | bit));
  }
  values.insert(values.end(),
                {0.0f, -0.0f, infinity, -infinity, 1e38f, -1e38f, 65504.0f, 65520.0f});
  Memory<float> from(values);
  Memory<std::uint32_t> packed(values.size() / 2);
  test::run_threads(static_cast<int>(values.size() / 2),
                    Pack<TypeParam>{from.data(), packed.data()});
  const std::vector<std::uint32_t> got = packed.read();
  std::vector<std::uint16_t> wanted(values.size());
  support::encode(test::type_of<TypeParam>, values, wanted);
  for (std::size_t i = 0; i < values.size(); ++i)
    ASSERT_EQ(got[i / 2] >> 16 * (i % 2) & 0xffff, wanted[i]) << values[i];
}

TYPED_TEST(ShortNumbers, AreUnpackedLowHalfFirst) {
  constexpr int pairs = 1 << 16;
  Memory<float> values(4 * pairs);
  test::run_threads(pairs, Unpack<TypeParam>{values.data(), pairs});
  const std::vector<float> got = values.read();
  for (int i = 0; i < 2 * pairs; ++i)
    for (int half = 0; half < 2; ++half) {
      const auto bits = static_cast<std::uint16_t>(half ? i % pairs ^ 0xffff : i % pairs);
      const float wanted = test::decoded<TypeParam>({bits})[0];
      const float value = got[2 * i + half];
      ASSERT_TRUE(value == wanted || (std::isnan(value) && std::isnan(wanted)))
          << "bits " << bits << ": " << value << ", wanted " << wanted;
    }
}

struct Magnitudes {
  const std::uint32_t* pairs;
  std::uint32_t* sums;

  FLASHMLA_DEVICE void operator()(int i) const {
    sums[i] = add_magnitudes_half2(pairs[2 * i], pairs[2 * i + 1]);
  }
};

TEST_F(LoadStore, AddsMagnitudesOfPairs) {
  const auto pair = [](float low, float high) {
    return support::float_to_fp16(low) | static_cast<std::uint32_t>(support::float_to_fp16(high))
                                             << 16;
  };
  Memory<std::uint32_t> pairs(std::vector<std::uint32_t>{
      pair(1, 2), pair(-3, 4), pair(0, 0), pair(5, -6), pair(65504, 1), pair(-65504, infinity)});
  Memory<std::uint32_t> sums(3);
  test::run_threads(3, Magnitudes{pairs.data(), sums.data()});
  EXPECT_EQ(sums.read(),
            (std::vector<std::uint32_t>{pair(4, 6), pair(5, 6), pair(infinity, infinity)}));
}

}  // namespace

}  // namespace flashmla::sm90::ptx
