// Loading the queries of a tile for products with codes: the latent part as fp16, in the order of
// columns of ops/code_operand.h, the rotary part as it is.
#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <cstdint>

#include "sm90/attend/partial_form.h"
#include "sm90/attend/tile_segment.h"
#include "sm90/kernels/sparse_decode/params.h"
#include "sm90/ops/code_operand.h"
#include "sm90/ops/load_rows.h"
#include "sm90/ptx/warpgroup.h"

namespace flashmla::sm90::sparse_decode::codes {

// Loads a row. Eight neighbouring lanes call this together, each for a unit of every chunk.
template <int CodeChunks>
class QueryRow {
 public:
  FLASHMLA_DEVICE QueryRow(const std::uint16_t* source, bool there, bool aligned) {
#pragma unroll
    for (int chunk = 0; chunk < CodeChunks; ++chunk)
      units[chunk] = ops::read_unit(source + chunk * tile::chunk_columns, there, aligned);
  }

  // The largest number of the row becomes one in [2^14, 2^15), so that numbers down to 2^−31 of it
  // keep their 8 bits. What is smaller has an error of less than 2^−38 of it.
  FLASHMLA_DEVICE attend::RowScale scale() const {
    std::uint32_t largest = 0;
#pragma unroll
    for (const uint4& unit : units)
      for (const std::uint32_t pair : {unit.x, unit.y, unit.z, unit.w})
        largest = max(largest, max(pair & 0x7fffu, pair >> 16 & 0x7fffu));
#pragma unroll
    for (int distance = 1; distance < tile::units_per_row; distance *= 2)
      largest = max(largest, __shfl_xor_sync(0xffffffffu, largest, distance));
    return attend::RowScale::of(__uint_as_float(largest << 16));
  }

  // Writes the row to the chunks. `unit` is the lane's unit of each chunk.
  template <class ChunkAddress>
  FLASHMLA_DEVICE void store(ChunkAddress chunk_address, int row, int unit, float up) const {
#pragma unroll
    for (int chunk = 0; chunk < CodeChunks; ++chunk) {
      const std::uint32_t pairs[4] = {units[chunk].x, units[chunk].y, units[chunk].z,
                                      units[chunk].w};
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const float2 numbers = ptx::unpack<__nv_bfloat16>(pairs[i]);
        const ops::PairPlace place = ops::place_of_pair(4 * unit + i);
        ptx::store_shared(chunk_address(chunk) + tile::swizzled(row, place.unit) + 4 * place.word,
                          ptx::pack<__half>(numbers.x * up, numbers.y * up));
      }
    }
  }

 private:
  uint4 units[CodeChunks];
};

// `Threads` threads call this; `thread` is the number of the caller. Rows behind the last head
// become zeros. query_unit[row] becomes the factor of the row's products with codes. The caller
// synchronises the threads afterwards.
template <int Chunks, int CodeChunks, int TileRows, int Threads, class ChunkAddress>
FLASHMLA_DEVICE void load_queries(const Params& p, const attend::TileSegment& segment, int thread,
                                  ChunkAddress chunk_address, float (&query_unit)[TileRows]) {
  constexpr int rows_at_once = Threads / tile::units_per_row;
  const auto at = p.output.batch_place(segment.request);
  const std::uint16_t* token = p.q + at.request * p.q_strides.outer + at.token * p.q_strides.middle;
  const int unit = thread % tile::units_per_row;
#pragma unroll 1
  for (int row = thread / tile::units_per_row; row < TileRows; row += rows_at_once) {
    const std::int32_t head = segment.first_row + row;
    const bool there = head < p.rows.count;
    const std::uint16_t* source = token + (there ? head : 0) * p.q_strides.head + unit * 8;
    const QueryRow<CodeChunks> latent(source, there, p.q_aligned);
#pragma unroll
    for (int chunk = CodeChunks; chunk < Chunks; ++chunk)
      ops::load_unit(chunk_address(chunk) + tile::swizzled(row, unit),
                     source + chunk * tile::chunk_columns, there, p.q_aligned);
    const attend::RowScale scale = latent.scale();
    latent.store(chunk_address, row, unit, scale.up);
    if (unit == 0)
      query_unit[row] = scale.down;
  }
  ptx::wait_for_copies();
  ptx::fence_async_proxy();
}

}  // namespace flashmla::sm90::sparse_decode::codes
