// Rows of results on their way from shared memory to where callers want them.
#include "sm90/ops/store_rows.h"
#include "sm90/tile/swizzle.h"
#include "tests/sm90/on_device.h"

namespace flashmla::sm90::ops {

namespace {

using test::Memory;

constexpr int lanes = 32;
constexpr int tile_rows = 32;
constexpr int max_columns = 2 * piece_columns;
constexpr int row_elements = max_columns + 24;  // in global memory, where other rows lie between

FLASHMLA_TILE_FUNCTION std::uint16_t number_of(int row, int column) {
  return static_cast<std::uint16_t>(1 + row * max_columns + column);
}

// How the rows are called for: the seesaw's and swap_ab's kernels have one warp for 16 rows in a
// row, and for every fourth row.
template <int Count, int Step, int Pieces>
struct Form {
  static constexpr int count = Count;
  static constexpr int step = Step;
  static constexpr int pieces = Pieces;
};

template <class F>
struct WriteRows {
  static constexpr int columns = F::pieces * piece_columns;
  int first_row;
  int rows_there;         // of the tile
  bool spaced;            // else row by row, to odd addresses
  std::uint16_t* target;  // [tile_rows][row_elements]
  int* freed;             // [lane]: how often `free` was called

  FLASHMLA_DEVICE void operator()(const test::Shared& shared) const {
    const int lane = static_cast<int>(threadIdx.x);
    auto* const tile = reinterpret_cast<std::uint16_t*>(shared.bytes);
    for (int i = lane; i < tile_rows * columns; i += lanes)
      tile[i] = number_of(i / columns, i % columns);
    __syncwarp();
    int calls = 0;
    write_rows<F::count, F::step, F::pieces>(
        {target, spaced ? row_elements : 0, rows_there}, first_row, lane * 8,
        [&](int row, int piece) {
          return shared.address + (row * columns + piece * piece_columns + lane * 8) * 2;
        },
        [&] {
          ++calls;
          for (int i = 0; i < F::count * F::pieces; ++i)  // somebody else's from now on
            *reinterpret_cast<uint4*>(tile + (first_row + i / F::pieces * F::step) * columns +
                                      i % F::pieces * piece_columns + lane * 8) = uint4{};
        },
        [&](int row, int piece, const uint4& unit) {
          if (row < rows_there)
            store_unit<false>(target + row * row_elements + 1 + lane * 8 + piece * piece_columns,
                              unit);
        });
    freed[lane] = calls;
  }
};

template <class F>
class WriteRowsTest : public test::DeviceTest {
 protected:
  static void expect_written(int first_row, int rows_there, bool spaced) {
    Memory<std::uint16_t> target(tile_rows * row_elements);
    Memory<int> freed(lanes);
    using Body = WriteRows<F>;
    test::run_blocks({.threads = lanes, .shared_bytes = tile_rows * Body::columns * 2},
                     Body{first_row, rows_there, spaced, target.data(), freed.data()});
    std::vector<std::uint16_t> wanted(tile_rows * row_elements, 0xffff);
    for (int i = 0; i < F::count; ++i) {
      const int row = first_row + i * F::step;
      for (int column = 0; row < rows_there && column < Body::columns; ++column)
        wanted[row * row_elements + column + (spaced ? 0 : 1)] = number_of(row, column);
    }
    const std::vector<std::uint16_t> got = target.read();
    for (int i = 0; i < tile_rows * row_elements; ++i)
      ASSERT_EQ(got[i], wanted[i])
          << "row " << i / row_elements << ", element " << i % row_elements << "; from row "
          << first_row << ", " << rows_there << " rows there";
    EXPECT_EQ(freed.read(), std::vector<int>(lanes, 1));
  }
};

using Forms = testing::Types<Form<16, 1, 1>, Form<4, 4, 2>, Form<8, 4, 2>>;
TYPED_TEST_SUITE(WriteRowsTest, Forms);

TYPED_TEST(WriteRowsTest, WritesAlignedRowsAtEqualDistances) {
  for (const int first_row : {0, 3})
    for (const int rows_there : {0, 1, 9, tile_rows})
      this->expect_written(first_row, rows_there, true);
}

TYPED_TEST(WriteRowsTest, WritesRowsAtOddAddressesOneByOne) {
  for (const int first_row : {0, 3})
    for (const int rows_there : {0, 1, 9, tile_rows})
      this->expect_written(first_row, rows_there, false);
}

}  // namespace

}  // namespace flashmla::sm90::ops
