// The kernels of the CPU backend as tables of functions, one table for each instruction set.
//
// NOTE: the functions of a table are compiled for their instruction set alone. They must not use
// inline functions of the standard library: the linker might keep their copy of such a function for
// the whole program, which then fails on a processor without this instruction set.
//
// Rows of fp32 scratch memory are in pair-split order. A vector has W lanes. Of every 2·W
// consecutive elements, those with an even index come first, then those with an odd index. So the
// two elements of a 32-bit word become lanes of two vectors without a shuffle. Dot products do not
// depend on the order, and store() restores it.
#pragma once

#include <cstdint>

namespace flashmla::backends::cpu {

inline constexpr int max_tile_rows = 64;      // query rows that are computed together
inline constexpr int max_tile_tokens = 64;    // cached tokens in a block
inline constexpr int scratch_alignment = 64;  // bytes

// The number of elements of a row is a multiple of this: d_qk is 576 or 512, d_v is 512.
inline constexpr int row_granularity = 64;

// The rows of a tile, one block of tokens, and the running results. Weights are 2^score.
struct BlockTask {
  const float* query;           // [rows][qk_dim], scaled by softmax_scale · log2 e, pair-split
  const float* cache;           // [max_tile_tokens][qk_dim], pair-split; `tokens` of them are valid
  const std::int32_t* visible;  // [rows], the row sees tokens 0 … visible − 1 of the block
  const std::uint8_t* missing;  // [max_tile_tokens], 1 where no row sees the token; null: all 0
  const void* const* upcoming;  // [upcoming_rows] rows of the next block, to prefetch
  float* scores;                // [rows][max_tile_tokens], scratch
  float* out;                   // [rows][v_dim], pair-split: Σ 2^(score − maximum) v
  float* maximum;               // [rows], −inf at first
  float* sum;                   // [rows]: Σ 2^(score − maximum)
  float* rescale;               // [rows], scratch
  std::int32_t upcoming_rows;
  std::int32_t upcoming_bytes;  // of each upcoming row
  std::int32_t rows;
  std::int32_t tokens;
  std::int32_t qk_dim;
  std::int32_t v_dim;
};

// The conversions of a 16-bit type.
struct HalfCodec {
  // target = source · factor; the target is in pair-split order.
  void (*load)(const void* source, float* target, std::int32_t count, float factor);
  // target = source · factor, rounded to nearest even; the source is in pair-split order.
  void (*store)(const float* source, void* target, std::int32_t count, float factor);
};

struct KernelTable {
  const char* name;
  HalfCodec bf16;
  HalfCodec fp16;
  // target = bf16(source · scale) for e4m3 elements; the target is in pair-split order.
  void (*load_e4m3)(const void* source, float* target, std::int32_t count, float scale);
  void (*attend_block)(const BlockTask& task);
  void (*scale)(const float* source, float* target, std::int32_t count, float factor);
  // target += source · factor
  void (*add_scaled)(const float* source, float* target, std::int32_t count, float factor);
};

namespace baseline {
extern const KernelTable kernels;
}
namespace avx2 {
extern const KernelTable kernels;
}
namespace avx512 {
extern const KernelTable kernels;
}

}  // namespace flashmla::backends::cpu
