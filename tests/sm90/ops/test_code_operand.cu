// Operands of wgmma from e4m3 codes in shared memory, beside the host's conversions: every element
// of the fragment, wherever the order of columns and rows puts it.
#include "sm90/ops/code_operand.h"

#include <cmath>
#include <vector>

#include "core/numeric.h"
#include "sm90/ptx/matrix.h"
#include "sm90/tile/code_rows.h"
#include "support/random.h"
#include "tests/sm90/drawn.h"
#include "tests/sm90/fragments.h"
#include "tests/sm90/on_device.h"

namespace flashmla::sm90::ops {

namespace {

using test::Memory;

class CodeOperand : public test::DeviceTest {};

constexpr int lanes = 32;
constexpr int operands = 4;
constexpr int chunk = 64;
constexpr int unit_codes = 16;
using Rows = tile::CodeRows<chunk / unit_codes>;

// All codes but NaN, whose signs a conversion loses, in an order of their own.
std::vector<std::uint8_t> drawn_codes(std::size_t count, std::uint64_t seed) {
  support::Random random(seed);
  std::vector<std::uint8_t> codes(count);
  for (std::uint8_t& code : codes)
    code = static_cast<std::uint8_t>(random.between(0, 0x7e) | random.pick({0, 0x80}));
  return codes;
}

FLASHMLA_DEVICE void store_codes(const test::Shared& shared, const std::uint8_t* codes, int rows) {
  for (int i = static_cast<int>(threadIdx.x); i < rows * chunk; i += lanes)
    shared.bytes[Rows::offset(i / chunk, i % chunk / unit_codes) + i % unit_codes] = codes[i];
  __syncwarp();
}

FLASHMLA_DEVICE void show(const std::uint32_t (&own)[operands][4], std::uint32_t* shown) {
  for (int k = 0; k < operands; ++k)
    for (int i = 0; i < 4; ++i)
      shown[(threadIdx.x * operands + k) * 4 + i] = own[k][i];
}

// 16 tokens are the rows of a warp's operands.
struct OperandsOfRows {
  const std::uint8_t* codes;  // [16][64]
  std::uint32_t* shown;       // [lane][operand][register]

  FLASHMLA_DEVICE void operator()(const test::Shared& shared) const {
    store_codes(shared, codes, 16);
    const int lane = static_cast<int>(threadIdx.x);
    uint4 units[2];
    for (int r = 0; r < 2; ++r)
      units[r] = ptx::load_shared_unit(
          shared.address +
          Rows::offset(tile::own_row(lane) + r * tile::own_rows_apart, lane % tile::quad_lanes));
    std::uint32_t own[operands][4];
    operands_of_rows(units, own);
    show(own, shown);
  }
};

// The column that lies at a place of a chunk of queries.
int column_at(int place) {
  for (int column = 0; column < chunk; ++column) {
    const PairPlace pair = place_of_pair(column / 2);
    if (pair.unit * 8 + pair.word * 2 + column % 2 == place)
      return column;
  }
  return -1;
}

TEST_F(CodeOperand, HasTokensAsRowsInTheOrderOfTheQueries) {
  const std::uint64_t seed = support::fresh_seed();
  SCOPED_TRACE(testing::Message() << "seed " << seed);
  const auto drawn = drawn_codes(16 * chunk, seed);
  Memory<std::uint8_t> codes(drawn);
  Memory<std::uint32_t> shown(lanes * operands * 4);
  test::run_blocks({.threads = lanes, .shared_bytes = 16 * chunk},
                   OperandsOfRows{codes.data(), shown.data()});
  const auto got = shown.read();
  for (int lane = 0; lane < lanes; ++lane)
    for (int k = 0; k < operands; ++k)
      for (int i = 0; i < 4; ++i)
        for (int half = 0; half < 2; ++half) {
          const int row = test::row_of_a(lane, i);
          const int column = column_at(16 * k + test::column_of_a(lane, i, half));
          ASSERT_GE(column, 0);
          const auto bits =
              static_cast<std::uint16_t>(got[(lane * operands + k) * 4 + i] >> 16 * half);
          ASSERT_EQ(test::decoded<__half>({bits})[0], e4m3_to_float(drawn[row * chunk + column]))
              << "lane " << lane << ", operand " << k << ", register " << i;
        }
}

// 16 columns are the rows of a warp's operands, 64 tokens their columns.
struct OperandsOfColumns {
  bool scaled;
  int unit;                   // the columns' unit of codes
  const std::uint8_t* codes;  // [64][64]
  const float* scales;        // [64]
  std::uint32_t* shown;

  FLASHMLA_DEVICE void operator()(const test::Shared& shared) const {
    store_codes(shared, codes, 64);
    const int lane = static_cast<int>(threadIdx.x);
    std::uint32_t words[8];
    for (int half = 0; half < 2; ++half) {
      std::uint32_t loaded[4];
      ptx::load_matrices_transposed(shared.address + Rows::offset(half * 32 + lane, unit), loaded);
      for (int i = 0; i < 4; ++i)
        words[half * 4 + i] = loaded[i];
    }
    std::uint32_t own[operands][4];
    if (scaled) {
      const float* const of_lane = scales + lane % tile::quad_lanes * 2;
      scaled_operands_of_columns(
          words, [&](int i) { return float2{of_lane[8 * i], of_lane[8 * i + 1]}; }, own);
    } else {
      operands_of_columns(words, own);
    }
    show(own, shown);
  }
};

void expect_columns(bool scaled) {
  const std::uint64_t seed = support::fresh_seed();
  SCOPED_TRACE(testing::Message() << "seed " << seed);
  const auto drawn = drawn_codes(64 * chunk, seed);
  const auto drawn_scales = test::drawn_floats(64, 0.5f, support::key_of(seed, 1));
  Memory<std::uint8_t> codes(drawn);
  Memory<float> scales(drawn_scales);
  for (int unit = 0; unit < Rows::units; ++unit) {
    Memory<std::uint32_t> shown(lanes * operands * 4);
    test::run_blocks({.threads = lanes, .shared_bytes = 64 * chunk},
                     OperandsOfColumns{scaled, unit, codes.data(), scales.data(), shown.data()});
    const auto got = shown.read();
    for (int lane = 0; lane < lanes; ++lane)
      for (int k = 0; k < operands; ++k)
        for (int i = 0; i < 4; ++i)
          for (int half = 0; half < 2; ++half) {
            const int row = test::row_of_a(lane, i);
            const int column = unit * unit_codes + row % 8 * 2 + row / 8;
            const int token = 16 * k + test::column_of_a(lane, i, half);
            const float code = e4m3_to_float(drawn[token * chunk + column]);
            const auto bits =
                static_cast<std::uint16_t>(got[(lane * operands + k) * 4 + i] >> 16 * half);
            if (scaled)
              ASSERT_EQ(bits, float_to_bf16(code * drawn_scales[token]))
                  << "lane " << lane << ", operand " << k << ", register " << i;
            else
              ASSERT_EQ(test::decoded<__half>({bits})[0], code)
                  << "lane " << lane << ", operand " << k << ", register " << i;
          }
  }
}

TEST_F(CodeOperand, HasColumnsInPairsAsRows) {
  expect_columns(false);
}

TEST_F(CodeOperand, HasScaledColumnsInPairsAsRows) {
  expect_columns(true);
}

}  // namespace

}  // namespace flashmla::sm90::ops
