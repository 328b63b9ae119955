// How long the L2 cache keeps what the copy engine loads.
#pragma once

#include <cstdint>

namespace flashmla::sm90::ptx {

// L2 policies of the copy engine: for data that are read once, for data that others read at about
// the same time, and for data that others will read again.
enum class L2Policy : std::uint64_t {
  evict_first = 0x12F0000000000000,
  evict_normal = 0x1000000000000000,
  evict_last = 0x14F0000000000000,
};

}  // namespace flashmla::sm90::ptx
