// Blocks of slots: which cached rows the next 64 tokens are. One warp, the slot reader, reads the
// index lists, leaves out the entries that name no token, and publishes the others in blocks. The
// warps that gather rows read the blocks.
#pragma once

#include <cstddef>
#include <cstdint>

#include "sm90/kernels/sparse_decode/params.h"
#include "sm90/pipeline/ring.h"

namespace flashmla::sm90::sparse_decode {

// A warp dequantises the tokens of a block in groups of eight.
inline constexpr int group_tokens = 8;
inline constexpr int groups_of_block = block_tokens / group_tokens;

// The row of a place without a token: zeros, and behind them scales of 1 for V4 caches. So no load
// needs a condition.
inline constexpr int no_row_bytes = 1152;  // the longest row, of 576 bf16 numbers
struct NoRow {
  std::uint8_t zeros[no_row_bytes] = {};
  std::uint8_t scales[16] = {0x7f, 0x7f, 0x7f, 0x7f, 0x7f, 0x7f, 0x7f, 0x7f};
};
static __device__ __align__(16) const NoRow no_row;

// What the consumers are told of a block.
struct BlockHeader {
  std::int16_t tokens;  // there are 0 … 64; the rows behind them are zeros
  bool last;            // of its segment
  bool end;             // there is no block, and none follows
};

template <class Format>
struct SlotBlock {
  // Where the rows of the tokens begin. Places behind the tokens have no_row. In the order of
  // place_of().
  const std::uint8_t* rows[block_tokens];
  // Bytes from the start of a row to its scales, where these lie behind all rows of a page.
  std::int32_t scales[Format::scales_apart ? block_tokens : 1];
  BlockHeader header;
};

// The even tokens of a group come first, then the odd ones, so that a lane of a gathering warp
// reads its four tokens with two loads.
FLASHMLA_HOST_DEVICE constexpr int place_of(int token) {
  return token / group_tokens * group_tokens + token % 2 * (group_tokens / 2) +
         token % group_tokens / 2;
}

}  // namespace flashmla::sm90::sparse_decode
