// Shared memory of the kernel for tiles of 16 or 32 rows.
#pragma once

#include <cstddef>
#include <cstdint>

#include "sm90/attend/swap_ab/consumer.h"
#include "sm90/kernels/dense_decode/segment_queue.h"
#include "sm90/pipeline/ring.h"
#include "sm90/tile/limits.h"
#include "sm90/tile/swizzle.h"

namespace flashmla::sm90::dense_decode::swap_ab {

using attend::swap_ab::chunk_bytes;

// Blocks of keys go through a ring of slots. A slot has a few chunks.
template <int Chunks>
struct Slot {
  static constexpr int chunks = Chunks % 3 == 0 ? 3 : 4;
  static constexpr int per_block = Chunks / chunks;
  static constexpr std::uint32_t bytes = chunks * chunk_bytes;
};

template <int Chunks, int Rows>
struct SharedStorage {
  // The ring has room for two whole blocks. So the copies of bytes that lie together in a page
  // start together, which is faster in device memory, and thread blocks of combine have room.
  static constexpr int key_slots = 2 * Slot<Chunks>::per_block;

  std::uint8_t keys[key_slots][Slot<Chunks>::bytes];
  std::uint8_t query[Chunks][Rows * tile::row_bytes];
  std::uint8_t weights[Rows * tile::row_bytes];  // P: [row][64 tokens]
  float exchange[2][4][Rows];                    // [turn][warp]: a value of each row
  // For each row at the end of a segment: Σ P over the tokens of each warp, and Σ of the rounded P.
  float sum[4][Rows];
  float divisor[4][Rows];
  bool out_of_range[1][4];  // a warp has values that do not fit fp16
  float row_max[Rows];
  float row_factor[1][Rows];
  SegmentQueue segments;
  std::uint32_t sink;  // of touch()

  pipeline::RingBarriers<key_slots> key_barriers;
  pipeline::RingBarriers<1> query_barriers;
};

static_assert(sizeof(SharedStorage<9, 16>) <= tile::max_shared_bytes);
static_assert(sizeof(SharedStorage<9, 32>) <= tile::max_shared_bytes);
static_assert(sizeof(SharedStorage<8, 32>) <= tile::max_shared_bytes);

// Shared addresses of the members. `base` is the real address of the storage. In a cluster its
// upper bits name the CTA.
template <int Chunks, int Rows>
struct SharedAddresses {
  using Storage = SharedStorage<Chunks, Rows>;
  std::uint32_t base;

  FLASHMLA_DEVICE std::uint32_t at(std::size_t offset) const {
    return base + static_cast<std::uint32_t>(offset);
  }

  FLASHMLA_DEVICE std::uint32_t keys(int slot) const {
    return at(offsetof(Storage, keys)) + slot * Slot<Chunks>::bytes;
  }
  FLASHMLA_DEVICE std::uint32_t query(int chunk) const {
    return at(offsetof(Storage, query)) + chunk * Rows * tile::row_bytes;
  }
  FLASHMLA_DEVICE std::uint32_t weights() const { return at(offsetof(Storage, weights)); }
  FLASHMLA_DEVICE std::uint32_t sink() const { return at(offsetof(Storage, sink)); }

  FLASHMLA_DEVICE pipeline::Ring<Storage::key_slots> key_ring() const {
    return {at(offsetof(Storage, key_barriers))};
  }
  FLASHMLA_DEVICE pipeline::Ring<1> query_ring() const {
    return {at(offsetof(Storage, query_barriers))};
  }
};

using attend::swap_ab::consumer_threads;
using attend::swap_ab::consumer_warps;
inline constexpr int key_loader_threads = 32;
inline constexpr int threads = 192;  // one warp loads keys, one the queries
enum NamedBarrier : int {
  consumers_met = 1,
  // The mbarriers are set. There is one of these for each role that waits at an instruction of its
  // own.
  barriers_set = 2,
  barriers_set_for_queries = 3,
};

}  // namespace flashmla::sm90::dense_decode::swap_ab
