// What a thread does with its elements of an accumulator.
#include "sm90/ops/accumulator.h"

#include <functional>

#include "tests/sm90/drawn.h"
#include "tests/sm90/fragments.h"
#include "tests/sm90/on_device.h"

namespace flashmla::sm90::ops {

namespace {

using test::Memory;

constexpr int threads = 128;
constexpr int rows = 64;
constexpr int columns = 64;

// No two elements are equal, and each of them is a bf16 and an fp16 number up to its rounding.
FLASHMLA_TILE_FUNCTION float number_of(int row, int column) {
  return static_cast<float>(row * columns + column + 1) * 0.25f;
}

enum class Change { none, set, clear, negate, rescale, rescale_column };

struct Changed {
  Change change;
  float* elements;  // [rows][columns]

  FLASHMLA_DEVICE void operator()(int thread) const {
    Accumulator<columns> own;
    for (int k = 0; k < columns / 2; ++k)
      own.value[k] = number_of(test::row_of_d(thread, k), test::column_of_d(thread, k));
    apply(own, thread);
    for (int k = 0; k < columns / 2; ++k)
      elements[test::row_of_d(thread, k) * columns + test::column_of_d(thread, k)] = own.value[k];
  }

  FLASHMLA_DEVICE void apply(Accumulator<columns>& own, int thread) const {
    // A factor of each row: 1 and more.
    const float factor[2] = {static_cast<float>(1 + test::row_of_d(thread, 0)),
                             static_cast<float>(1 + test::row_of_d(thread, 2))};
    if (change == Change::set)
      for (int i = 0; i < Accumulator<columns>::own_columns; ++i)
        for (int r = 0; r < 2; ++r)
          own.at(r, i) = static_cast<float>(1000 * r + i);
    if (change == Change::clear)
      own.clear();
    if (change == Change::negate)
      own.negate();
    if (change == Change::rescale)
      own.rescale(factor);
    if (change == Change::rescale_column)
      own.rescale_column(5, 2.0f);
    own.pin();
  }
};

class AccumulatorTest : public test::DeviceTest {
 protected:
  // `wanted`: of a row, a column and what was there.
  static void expect_changed(Change change, const std::function<float(int, int, float)>& wanted) {
    Memory<float> elements(rows * columns);
    test::run_threads(threads, Changed{change, elements.data()});
    const std::vector<float> got = elements.read();
    for (int row = 0; row < rows; ++row)
      for (int column = 0; column < columns; ++column)
        ASSERT_EQ(got[row * columns + column], wanted(row, column, number_of(row, column)))
            << "row " << row << ", column " << column;
  }
};

TEST_F(AccumulatorTest, KeepsClearsAndNegatesItsElements) {
  expect_changed(Change::none, [](int, int, float before) { return before; });
  expect_changed(Change::clear, [](int, int, float) { return 0.0f; });
  expect_changed(Change::negate, [](int, int, float before) { return -before; });
}

TEST_F(AccumulatorTest, FindsOwnRowsAndOwnColumns) {
  expect_changed(Change::set, [](int row, int column, float) {
    return static_cast<float>(1000 * (row % 16 / 8) + column / 8 * 2 + column % 2);
  });
}

TEST_F(AccumulatorTest, RescalesEachRowByItsOwnFactor) {
  expect_changed(Change::rescale,
                 [](int row, int, float before) { return before * static_cast<float>(1 + row); });
}

// Own column 5 is the second one of the third eight columns.
TEST_F(AccumulatorTest, RescalesOneColumnOfBothRows) {
  expect_changed(Change::rescale_column, [](int, int column, float before) {
    return column / 8 == 2 && column % 2 == 1 ? 2 * before : before;
  });
}

template <class T>
struct Packed {
  std::uint16_t* elements;  // [rows][columns], from operands of 16 columns

  FLASHMLA_DEVICE void operator()(int thread) const {
    Accumulator<columns> own;
    for (int k = 0; k < columns / 2; ++k)
      own.value[k] = number_of(test::row_of_d(thread, k), test::column_of_d(thread, k));
    for (int k = 0; k < columns / 16; ++k) {
      std::uint32_t operand[4];
      own.template pack<T>(k, operand);
      for (int i = 0; i < 4; ++i)
        for (int half = 0; half < 2; ++half)
          elements[test::row_of_a(thread, i) * columns + 16 * k +
                   test::column_of_a(thread, i, half)] =
              static_cast<std::uint16_t>(operand[i] >> 16 * half);
    }
  }
};

template <class T>
class PackedAccumulator : public test::DeviceTest {};
using Types = testing::Types<__nv_bfloat16, __half>;
TYPED_TEST_SUITE(PackedAccumulator, Types);

TYPED_TEST(PackedAccumulator, IsOperandARounded) {
  Memory<std::uint16_t> elements(rows * columns);
  test::run_threads(threads, Packed<TypeParam>{elements.data()});
  const std::vector<std::uint16_t> got = elements.read();
  std::vector<float> values(rows * columns);
  for (int i = 0; i < rows * columns; ++i)
    values[i] = number_of(i / columns, i % columns);
  std::vector<std::uint16_t> wanted(rows * columns);
  support::encode(test::type_of<TypeParam>, values, wanted);
  for (int i = 0; i < rows * columns; ++i)
    ASSERT_EQ(got[i], wanted[i]) << "row " << i / columns << ", column " << i % columns;
}

}  // namespace

}  // namespace flashmla::sm90::ops
