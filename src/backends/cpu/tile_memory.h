// The scratch memory of a thread for one tile of query rows (kernel/table.h).
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <iterator>
#include <limits>
#include <numbers>

#include "backends/cpu/kernel/table.h"
#include "backends/cpu/scratch.h"
#include "flashmla/problem.h"

namespace flashmla::backends::cpu {

struct TileMemory {
  float* query;    // [rows][qk_dim]
  float* cache;    // [max_tile_tokens][qk_dim]
  float* scores;   // [rows][max_tile_tokens]
  float* out;      // [rows][v_dim]
  float* maximum;  // [rows]
  float* sum;      // [rows]
  float* rescale;  // [rows]
  std::int32_t qk_dim;
  std::int32_t v_dim;

  TileMemory(std::int64_t rows, const Problem& problem)
      : qk_dim(static_cast<std::int32_t>(problem.qk_dim)),
        v_dim(static_cast<std::int32_t>(problem.v_dim)) {
    const std::int64_t sizes[] = {rows * problem.qk_dim,  max_tile_tokens * problem.qk_dim,
                                  rows * max_tile_tokens, rows * problem.v_dim,
                                  max_tile_rows,          max_tile_rows,
                                  max_tile_rows};
    float** const arrays[] = {&query, &cache, &scores, &out, &maximum, &sum, &rescale};
    std::int64_t total = 0;
    for (const std::int64_t size : sizes)
      total += size;
    float* next = thread_scratch(static_cast<std::size_t>(total));
    for (std::size_t i = 0; i < std::size(arrays); ++i) {
      *arrays[i] = next;
      next += sizes[i];
    }
  }

  // Prepares the results for the first block.
  void clear(std::int64_t rows) const {
    std::fill_n(out, rows * v_dim, 0.0f);
    std::fill_n(maximum, rows, -std::numeric_limits<float>::infinity());
    std::fill_n(sum, rows, 0.0f);
  }

  // The largest score and the lse of all blocks up to here, as natural logarithms.
  double max_logit(std::int32_t row) const {
    return static_cast<double>(maximum[row]) * std::numbers::ln2;
  }
  double lse(std::int32_t row) const {
    return max_logit(row) + std::log(static_cast<double>(sum[row]));
  }
};

}  // namespace flashmla::backends::cpu
