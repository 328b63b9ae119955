// Which elements a thread holds, beside the tests' own drawing of the PTX manual.
#include "sm90/tile/fragment.h"

#include "tests/sm90/fragments.h"
#include "tests/sm90/on_device.h"

namespace flashmla::sm90::tile {

namespace {

constexpr int threads = 128;
constexpr int columns = 64;
constexpr int registers = columns / 2;

struct Element {
  int row;
  int column;

  friend bool operator==(const Element&, const Element&) = default;
};

// The element of own row r and own column i.
FLASHMLA_DEVICE Element own_element(int thread, int r, int i) {
  return {thread / 32 * warp_rows + own_row(thread % 32) + r * own_rows_apart,
          own_column(thread % quad_lanes) + columns_before(i)};
}

// Of each register of an accumulator, 64 × 64.
struct Accumulators {
  Element* elements;  // [thread][register]
  int* rows;          // the same, by own_row_of()

  FLASHMLA_DEVICE void operator()(int thread) const {
    for (int r = 0; r < 2; ++r)
      for (int i = 0; i < columns / 4; ++i) {
        const int at = thread * registers + accumulator_register(r, i);
        elements[at] = own_element(thread, r, i);
        rows[at] = own_element(thread, own_row_of(accumulator_register(r, i)), i).row;
      }
  }
};

class Fragment : public test::DeviceTest {};

TEST_F(Fragment, OfAnAccumulatorIsThatOfTheManual) {
  test::Memory<Element> memory(threads * registers);
  test::Memory<int> rows(threads * registers);
  test::run_threads(threads, Accumulators{memory.data(), rows.data()});
  const std::vector<Element> elements = memory.read();
  const std::vector<int> got_rows = rows.read();
  for (int i = 0; i < threads * registers; ++i) {
    const Element wanted{test::row_of_d(i / registers, i % registers),
                         test::column_of_d(i / registers, i % registers)};
    ASSERT_TRUE(elements[i] == wanted)
        << "thread " << i / registers << ", register " << i % registers << ": row "
        << elements[i].row << ", column " << elements[i].column;
    ASSERT_EQ(got_rows[i], wanted.row) << "thread " << i / registers;
  }
}

// Of each half of the registers of operand A, 64 × 64: four operands of 16 columns.
struct Operands {
  Element* elements;  // [thread][operand][register][half]
  Element* others;    // the same, by own_row_of_operand() and pair_of_operand()

  FLASHMLA_DEVICE void operator()(int thread) const {
    for (int r = 0; r < 2; ++r)
      for (int i = 0; i < columns / 4; ++i) {
        const int pair = i / 2;
        const int at =
            ((thread * 4 + operand_of(pair)) * 4 + operand_register(r, pair)) * 2 + i % 2;
        const int operand = operand_register(r, pair);
        elements[at] = own_element(thread, r, i);
        others[at] = own_element(thread, own_row_of_operand(operand),
                                 4 * operand_of(pair) + 2 * pair_of_operand(operand) + i % 2);
      }
  }
};

TEST_F(Fragment, OfOperandAIsThatOfTheManual) {
  constexpr int elements_of_thread = 4 * 4 * 2;
  test::Memory<Element> memory(threads * elements_of_thread);
  test::Memory<Element> others(threads * elements_of_thread);
  test::run_threads(threads, Operands{memory.data(), others.data()});
  const std::vector<Element> elements = memory.read();
  const std::vector<Element> got_others = others.read();
  for (int at = 0; at < threads * elements_of_thread; ++at) {
    const int thread = at / elements_of_thread;
    const int operand = at / 8 % 4;
    const int of_register = at / 2 % 4;
    const Element wanted{test::row_of_a(thread, of_register),
                         16 * operand + test::column_of_a(thread, of_register, at % 2)};
    ASSERT_TRUE(elements[at] == wanted)
        << "thread " << thread << ", operand " << operand << ", register " << of_register
        << ": row " << elements[at].row << ", column " << elements[at].column;
    ASSERT_TRUE(got_others[at] == wanted) << "thread " << thread << ", register " << of_register;
  }
}

// The rows of 8×8 matrices that lanes name, for 16 × 16 elements.
struct MatrixRows {
  Element* places;  // [lane]: row and unit
  Element* transposed_places;

  FLASHMLA_DEVICE void operator()(int lane) const {
    places[lane] = {matrix_row(lane), matrix_unit(lane)};
    transposed_places[lane] = {transposed_matrix_row(lane / matrix_rows, lane),
                               transposed_matrix_unit(lane / matrix_rows)};
  }
};

// Lane l names row l % 8 of the matrix that register l / 8 of operand A belongs to. Where
// matrices are transposed, rows and columns change their places.
TEST_F(Fragment, OfAMatrixBeginsWhereItsRegisterDoes) {
  test::Memory<Element> places(32);
  test::Memory<Element> transposed_places(32);
  test::run_threads(32, MatrixRows{places.data(), transposed_places.data()});
  const std::vector<Element> got = places.read();
  const std::vector<Element> got_transposed = transposed_places.read();
  for (int lane = 0; lane < 32; ++lane) {
    const int first_row = test::row_of_a(0, lane / 8);
    const int first_column = test::column_of_a(0, lane / 8, 0);
    EXPECT_TRUE(got[lane] == (Element{first_row + lane % 8, first_column / 8})) << "lane " << lane;
    EXPECT_TRUE(got_transposed[lane] == (Element{first_column + lane % 8, first_row / 8}))
        << "lane " << lane;
  }
}

}  // namespace

}  // namespace flashmla::sm90::tile
