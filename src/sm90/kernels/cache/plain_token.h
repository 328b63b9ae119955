// Copying the token of a bf16 or fp16 cache. A warp does it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "sm90/kernels/cache/access.h"
#include "sm90/kernels/cache/place.h"

namespace flashmla::sm90::cache {

template <bool wide>
class PlainToken {
 public:
  static FLASHMLA_DEVICE void write(const Params& p, const std::byte* row, const CachedToken& token,
                                    int lane) {
    for (int head = 0; head < p.heads; ++head)
      copy(row + head * p.rows.head_stride, token.row + head * p.cache.head_stride, p.columns,
           lane);
  }

  static FLASHMLA_DEVICE void read(const Params& p, const CachedToken& token, std::byte* row,
                                   int lane) {
    for (int head = 0; head < p.heads; ++head)
      copy(token.row + head * p.cache.head_stride, row + head * p.rows.head_stride, p.columns,
           lane);
  }

  static FLASHMLA_DEVICE void clear(const Params& p, std::byte* row, int lane) {
    for (int head = 0; head < p.heads; ++head)
      for (int column = 0; column < p.columns; column += 32 * step)
        if (const int mine = column + step * lane; mine < p.columns)
          store(row + head * p.rows.head_stride + offset_of(mine), Piece{});
  }

 private:
  static constexpr int step = wide ? 8 : 1;  // elements of a load or store
  using Piece = std::conditional_t<wide, uint4, std::uint16_t>;

  static FLASHMLA_DEVICE std::int64_t offset_of(int column) { return std::int64_t{2} * column; }

  static FLASHMLA_DEVICE void store(std::byte* to, const Piece& piece) {
    *reinterpret_cast<Piece*>(to) = piece;
  }

  // NOTE: loads stand in front of all stores, so that several are on their way.
  static FLASHMLA_DEVICE void copy(const std::byte* from, std::byte* to, int columns, int lane) {
    constexpr int at_a_time = 3;  // of 256 elements in a wide copy
    for (int first = step * lane; first < columns; first += 32 * step * at_a_time) {
      Piece pieces[at_a_time];
#pragma unroll
      for (int i = 0; i < at_a_time; ++i)
        if (const int column = first + 32 * step * i; column < columns)
          pieces[i] = *reinterpret_cast<const Piece*>(from + offset_of(column));
#pragma unroll
      for (int i = 0; i < at_a_time; ++i)
        if (const int column = first + 32 * step * i; column < columns)
          store(to + offset_of(column), pieces[i]);
    }
  }
};

}  // namespace flashmla::sm90::cache
