// The kernels of the CPU backend as a table of functions, one table for each instruction set. What
// stands behind a table is compiled for its instruction set alone, so it may include no header of
// the standard library whose inline functions could be merged with those of the rest of the
// program.
//
// Rows of fp32 scratch hold their numbers in pair-split order: of every 2·W consecutive numbers (W
// lanes) first those with an even index, then those with an odd one. Two 16-bit numbers that share
// a 32-bit word so become two lanes without a shuffle. Dot products do not mind; store() restores
// the order.
#pragma once

#include <cstdint>

namespace flashmla::backends::cpu {

inline constexpr int max_tile_rows = 64;      // query rows that share a pass over a block
inline constexpr int max_tile_tokens = 64;    // cached tokens in a block
inline constexpr int scratch_alignment = 64;  // bytes

// Numbers in a row are a multiple of this: d_qk 576 and 512, d_v 512.
inline constexpr int row_granularity = 64;

// One block of tokens against the rows of a tile. Scores are in the base-2 logarithm domain.
struct BlockTask {
  const float* query;           // [rows][qk_dim], scaled by softmax_scale · log2 e, pair-split
  const float* cache;           // [max_tile_tokens][qk_dim], pair-split; `tokens` of them are valid
  const std::int32_t* visible;  // [rows], the row sees tokens 0 … visible − 1 of the block
  const std::uint8_t* missing;  // [max_tile_tokens], 1 where nobody sees the token; null: none is
  const void* const* upcoming;  // [upcoming_rows] rows of the next block, to prefetch
  float* scores;                // [rows][max_tile_tokens], scratch
  float* out;                   // [rows][v_dim], pair-split: Σ 2^(score − maximum) v
  float* maximum;               // [rows], −inf at first
  float* sum;                   // [rows]: Σ 2^(score − maximum)
  float* rescale;               // [rows], scratch
  std::int32_t upcoming_rows;
  std::int32_t upcoming_bytes;  // of each of them
  std::int32_t rows;
  std::int32_t tokens;
  std::int32_t qk_dim;
  std::int32_t v_dim;
};

// A 16-bit type as it lies in memory.
struct HalfCodec {
  // target = source · factor, into pair-split order.
  void (*load)(const void* source, float* target, std::int32_t count, float factor);
  // target = source · factor, rounded to nearest even, out of pair-split order.
  void (*store)(const float* source, void* target, std::int32_t count, float factor);
};

struct KernelTable {
  const char* name;
  HalfCodec bf16;
  HalfCodec fp16;
  // target = bf16(source · scale), e4m3 numbers into pair-split order.
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
