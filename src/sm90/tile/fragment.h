// Which elements of a matrix each thread holds in its registers: accumulators and operands of the
// tensor cores, and the 8×8 matrices of ldmatrix and stmatrix.
//
// An accumulator has 64 rows × N columns of fp32. A warp of the warpgroup holds 16 rows of them,
// warp 0 the first ones:
//
//   columns   0, 1   2, 3   4, 5   6, 7 │ 8, 9 …
//   row 0    lane 0      1      2      3 │    0 …      The two rows of a lane are 8 apart.
//   row 1         4      5      6      7 │    4 …      The four lanes of a quad share their rows.
//   …                                    │             Eight lanes, 4 apart, share their columns.
//   row 7        28     29     30     31 │   28 …
//   row 8         0      1      2      3 │    0 …
//   …
//
// So a thread has two *own rows*, numbered r = 0, 1, and N / 4 *own columns*, numbered i.
//
// Operand A in registers has 64 rows × 16 columns of 16 bits, in the same order. Two neighbouring
// own columns are packed into a register, so a thread has four registers.
#pragma once

#include <cstdint>

#include "sm90/tile/swizzle.h"

namespace flashmla::sm90::tile {

inline constexpr int accumulator_rows = 64;
inline constexpr int warp_rows = 16;  // rows of an accumulator that a warp holds
inline constexpr int quad_lanes = 4;  // lanes that share two rows

// The number of own row 0 among the rows of the warp. Own row r is r · own_rows_apart rows further.
FLASHMLA_TILE_FUNCTION int own_row(int lane) {
  return lane / quad_lanes;
}
inline constexpr int own_rows_apart = 8;

// Own column 0 of a lane of a quad (lane % quad_lanes). Own column i is columns_before(i) columns
// further.
FLASHMLA_TILE_FUNCTION int own_column(int quad_lane) {
  return quad_lane * 2;
}
FLASHMLA_TILE_FUNCTION int columns_before(int i) {
  return i / 2 * 8 + i % 2;
}

// The register of the accumulator that holds own row r and own column i.
FLASHMLA_TILE_FUNCTION int accumulator_register(int r, int i) {
  return i / 2 * 4 + r * 2 + i % 2;
}
// The own row to which a register of the accumulator belongs.
FLASHMLA_TILE_FUNCTION int own_row_of(int accumulator_register) {
  return accumulator_register / 2 % 2;
}

// The register of operand A that holds own columns 2 · pair and 2 · pair + 1 of own row r. An
// operand of more than 16 columns is a sequence of operands of 16 columns: `pair` 0 and 1 are in
// the first one.
FLASHMLA_TILE_FUNCTION int operand_of(int pair) {
  return pair / 2;
}
FLASHMLA_TILE_FUNCTION int operand_register(int r, int pair) {
  return pair % 2 * 2 + r;
}
FLASHMLA_TILE_FUNCTION int own_row_of_operand(int operand_register) {
  return operand_register % 2;
}
FLASHMLA_TILE_FUNCTION int pair_of_operand(int operand_register) {
  return operand_register / 2;
}

// ldmatrix and stmatrix move four 8×8 matrices of 16-bit elements between registers and shared
// memory. Together they are 16 rows × 16 columns here, of which a thread holds the four registers
// of operand A. Each lane gives the address of one row of a matrix, a unit of 16 bytes. These
// functions give the row, 0 … 15, and the unit of the row, 0 or 1.
inline constexpr int matrix_rows = 8;
FLASHMLA_TILE_FUNCTION int matrix_row(int lane) {
  return lane % 16;
}
FLASHMLA_TILE_FUNCTION int matrix_unit(int lane) {
  return lane / 16;
}

// The same, where rows of the registers are columns in shared memory (stmatrix with .trans).
// `matrix` is the matrix that the lane addresses, lane / matrix_rows.
FLASHMLA_TILE_FUNCTION int transposed_matrix_row(int matrix, int lane) {
  return matrix / 2 * matrix_rows + lane % matrix_rows;
}
FLASHMLA_TILE_FUNCTION int transposed_matrix_unit(int matrix) {
  return matrix % 2;
}

}  // namespace flashmla::sm90::tile
