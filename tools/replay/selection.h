// Which cached rows a query token attends to in a replay over an FP8 cache, as DeepSeek's sparse
// attention would choose some: a pure function of the seed and the token's place.
//
//   v32  up to 2,048 distinct random tokens among those up to the query token itself
//   v4   the 128 most recent tokens, and up to 512 distinct random rows of an extra cache, which
//        holds one row for every four tokens that are settled
#pragma once

#include <cstdint>
#include <vector>

#include "flashmla/kv_format.h"
#include "tools/replay/content.h"

namespace flashmla::tools {

inline constexpr std::int64_t v32_topk = 2048;
inline constexpr std::int64_t v4_window = 128;
inline constexpr std::int64_t v4_extra_topk = 512;
inline constexpr std::int64_t tokens_of_extra_row = 4;

// d_qk of a replay over this format.
constexpr std::int64_t replay_qk_dim(KvFormat format) {
  return is_plain(format) ? 576 : format_qk_dim(format);
}

struct Selection {
  std::vector<std::int64_t> tokens;      // positions
  std::vector<std::int64_t> extra_rows;  // numbers of rows of the extra cache
};

// `settled`: tokens of the request before the step.
Selection select_rows(KvFormat format, std::uint64_t seed, const TokenPlace& query,
                      std::int64_t settled);

// How many rows a query token at `position` attends to, in any format.
std::int64_t attended_rows(KvFormat format, std::int64_t position, std::int64_t settled);

}  // namespace flashmla::tools
