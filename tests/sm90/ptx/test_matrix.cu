// 8×8 matrices between registers and shared memory, and the product of a single warp.
#include "sm90/ptx/matrix.h"

#include <cmath>

#include "sm90/ptx/mma.h"
#include "tests/sm90/drawn.h"
#include "tests/sm90/fragments.h"
#include "tests/sm90/on_device.h"

namespace flashmla::sm90::ptx {

namespace {

using test::Memory;

constexpr int lanes = 32;
constexpr int matrices = 4;
constexpr int row_elements = 8;
constexpr int matrix_elements = 8 * row_elements;

// Rows lie in an order of their own, with gaps: only a lane's address says where its row is.
FLASHMLA_TILE_FUNCTION int place_of_row(int row) {
  return (row * 5 % 32 * 3 + 1) * row_elements;
}
constexpr int place_elements = 32 * 3 * row_elements;

// The number of an element, which tells it from every other one of the four matrices.
FLASHMLA_TILE_FUNCTION std::uint16_t number_of(int matrix, int row, int column) {
  return static_cast<std::uint16_t>(1000 + matrix * matrix_elements + row * row_elements + column);
}

FLASHMLA_DEVICE std::uint32_t address_of_lane(const test::Shared& shared) {
  return shared.address + place_of_row(static_cast<int>(threadIdx.x)) * 2;
}

// A lane's part of a matrix: the numbers of two elements.
FLASHMLA_TILE_FUNCTION std::uint32_t part_of(int matrix, int lane) {
  const int row = test::row_of_matrix(lane);
  return number_of(matrix, row, test::column_of_matrix(lane, 0)) |
         static_cast<std::uint32_t>(number_of(matrix, row, test::column_of_matrix(lane, 1))) << 16;
}

struct Load {
  bool transposed;
  std::uint32_t* parts;  // [lane][matrix]

  FLASHMLA_DEVICE void operator()(const test::Shared& shared) const {
    auto* const place = reinterpret_cast<std::uint16_t*>(shared.bytes);
    const int lane = static_cast<int>(threadIdx.x);
    for (int column = 0; column < row_elements; ++column)
      place[place_of_row(lane) + column] = number_of(lane / 8, lane % 8, column);
    __syncwarp();
    std::uint32_t own[matrices];
    if (transposed)
      load_matrices_transposed(address_of_lane(shared), own);
    else
      load_matrices(address_of_lane(shared), own);
    for (int m = 0; m < matrices; ++m)
      parts[lane * matrices + m] = own[m];
  }
};

struct Store {
  bool transposed;
  std::uint16_t* place;

  FLASHMLA_DEVICE void operator()(const test::Shared& shared) const {
    const int lane = static_cast<int>(threadIdx.x);
    const std::uint32_t row = address_of_lane(shared);
    if (transposed)
      store_matrices_transposed(row, part_of(0, lane), part_of(1, lane), part_of(2, lane),
                                part_of(3, lane));
    else
      store_matrices(row, part_of(0, lane), part_of(1, lane), part_of(2, lane), part_of(3, lane));
    __syncwarp();
    for (int i = lane; i < place_elements; i += lanes)
      place[i] = reinterpret_cast<const std::uint16_t*>(shared.bytes)[i];
  }
};

struct Transpose {
  std::uint32_t* parts;

  FLASHMLA_DEVICE void operator()(const test::Shared&) const {
    parts[threadIdx.x] = transpose_matrix(part_of(0, static_cast<int>(threadIdx.x)));
  }
};

class Matrix : public test::DeviceTest {
 protected:
  static void expect_stored(bool transposed) {
    Memory<std::uint16_t> memory(place_elements);
    test::run_blocks({.threads = lanes, .shared_bytes = place_elements * 2},
                     Store{transposed, memory.data()});
    std::vector<std::uint16_t> wanted(place_elements, 0xffff);
    for (int row = 0; row < lanes; ++row)
      for (int column = 0; column < row_elements; ++column)
        wanted[place_of_row(row) + column] =
            transposed ? number_of(row / 8, column, row % 8) : number_of(row / 8, row % 8, column);
    EXPECT_EQ(memory.read(), wanted);
  }
};

TEST_F(Matrix, IsLoadedFromTheRowsThatLanesName) {
  Memory<std::uint32_t> parts(lanes * matrices);
  test::run_blocks({.threads = lanes, .shared_bytes = place_elements * 2},
                   Load{false, parts.data()});
  const std::vector<std::uint32_t> got = parts.read();
  for (int lane = 0; lane < lanes; ++lane)
    for (int m = 0; m < matrices; ++m)
      ASSERT_EQ(got[lane * matrices + m], part_of(m, lane)) << "lane " << lane << ", matrix " << m;
}

TEST_F(Matrix, IsLoadedTransposed) {
  Memory<std::uint32_t> parts(lanes * matrices);
  test::run_blocks({.threads = lanes, .shared_bytes = place_elements * 2},
                   Load{true, parts.data()});
  const std::vector<std::uint32_t> got = parts.read();
  for (int lane = 0; lane < lanes; ++lane)
    for (int m = 0; m < matrices; ++m)
      for (int half = 0; half < 2; ++half)
        ASSERT_EQ(got[lane * matrices + m] >> 16 * half & 0xffff,
                  number_of(m, test::column_of_matrix(lane, half), test::row_of_matrix(lane)))
            << "lane " << lane << ", matrix " << m << ", half " << half;
}

TEST_F(Matrix, IsStoredToTheRowsThatLanesName) {
  expect_stored(false);
}

TEST_F(Matrix, IsStoredTransposed) {
  expect_stored(true);
}

TEST_F(Matrix, IsTransposedInRegisters) {
  Memory<std::uint32_t> parts(lanes);
  test::run_blocks({.threads = lanes}, Transpose{parts.data()});
  const std::vector<std::uint32_t> got = parts.read();
  for (int lane = 0; lane < lanes; ++lane)
    for (int half = 0; half < 2; ++half)
      ASSERT_EQ(got[lane] >> 16 * half & 0xffff,
                number_of(0, test::column_of_matrix(lane, half), test::row_of_matrix(lane)))
          << "lane " << lane << ", half " << half;
}

// D = C + A · B, C being what D holds before.
template <class T>
struct WarpProduct {
  const std::uint16_t* a;  // [16][16]
  const std::uint16_t* b;  // [8][16]: column, then row
  const float* c;          // [16][8]
  float* d;

  FLASHMLA_DEVICE void operator()(const test::Shared&) const {
    const int lane = static_cast<int>(threadIdx.x);
    std::uint32_t own_a[4];
    for (int i = 0; i < 4; ++i)
      own_a[i] = pair(a + test::row_of_a(lane, i) * 16 + test::column_of_a(lane, i, 0));
    const std::uint16_t* const own_b = b + lane / 4 * 16 + lane % 4 * 2;
    float sums[4];
    for (int i = 0; i < 4; ++i)
      sums[i] = c[test::row_of_d(lane, i) * 8 + test::column_of_d(lane, i)];
    multiply_matrices<T>(sums, own_a, pair(own_b), pair(own_b + 8));
    for (int i = 0; i < 4; ++i)
      d[test::row_of_d(lane, i) * 8 + test::column_of_d(lane, i)] = sums[i];
  }

  static FLASHMLA_DEVICE std::uint32_t pair(const std::uint16_t* from) {
    return from[0] | static_cast<std::uint32_t>(from[1]) << 16;
  }
};

template <class T>
class MatrixProduct : public test::DeviceTest {};
using Types = testing::Types<__nv_bfloat16, __half>;
TYPED_TEST_SUITE(MatrixProduct, Types);

TYPED_TEST(MatrixProduct, OfAWarpIsAddedToWhatWasThere) {
  using T = TypeParam;
  const std::uint64_t seed = support::fresh_seed();
  SCOPED_TRACE(testing::Message() << "seed " << seed);
  const auto a_bits = test::drawn<T>(16 * 16, 0.5f, support::key_of(seed, 0));
  const auto b_bits = test::drawn<T>(8 * 16, -0.25f, support::key_of(seed, 1));
  const auto before = test::drawn_floats(16 * 8, 3.0f, support::key_of(seed, 2));
  Memory<std::uint16_t> a(a_bits);
  Memory<std::uint16_t> b(b_bits);
  Memory<float> c(before);
  Memory<float> d(16 * 8);
  test::run_blocks({.threads = lanes}, WarpProduct<T>{a.data(), b.data(), c.data(), d.data()});

  const std::vector<float> got = d.read();
  const std::vector<float> a_values = test::decoded<T>(a_bits);
  const std::vector<float> b_values = test::decoded<T>(b_bits);
  for (int row = 0; row < 16; ++row)
    for (int column = 0; column < 8; ++column) {
      double sum = before[row * 8 + column];
      double magnitude = std::abs(sum);
      for (int k = 0; k < 16; ++k) {
        const double term = static_cast<double>(a_values[row * 16 + k]) * b_values[column * 16 + k];
        sum += term;
        magnitude += std::abs(term);
      }
      ASSERT_NEAR(got[row * 8 + column], sum, 0x1p-18 * magnitude)
          << "row " << row << ", column " << column;
    }
}

}  // namespace

}  // namespace flashmla::sm90::ptx
