// Shared memory and named barriers of the kernel for more than 32 rows.
#pragma once

#include <cstddef>
#include <cstdint>

#include "sm90/kernels/dense_decode/segment_queue.h"
#include "sm90/pipeline/handoff.h"
#include "sm90/pipeline/ring.h"
#include "sm90/tile/limits.h"
#include "sm90/tile/swizzle.h"

namespace flashmla::sm90::dense_decode::seesaw {

inline constexpr int tile_rows = 64;
inline constexpr std::uint32_t chunk_bytes = tile_rows * tile::row_bytes;
inline constexpr int v_half_chunks = 4;  // chunks 0 … 3 are the left half of V, 4 … 7 the right one
inline constexpr int rope_chunk = 8;     // only where d_qk is 576

// A block of keys arrives and is given back in three parts.
enum KeyPart { left_part, right_part, rope_part, key_parts };

FLASHMLA_DEVICE constexpr int first_chunk_of(KeyPart part) {
  return part * v_half_chunks;
}
FLASHMLA_DEVICE constexpr int chunks_of(KeyPart part) {
  return part == rope_part ? 1 : v_half_chunks;
}

// The data that the consumers show each other: P and maxima after a block, sums after a segment.
enum class Exchange { weights, sums, count };
using Handoff = pipeline::Handoff<Exchange>;

template <int Chunks>
struct SharedStorage {
  // [chunk][row]. The last chunk is read into registers at the start of a segment, and its memory
  // then holds the P of the right consumer. At the end of a segment the results pass through the
  // first eight chunks.
  std::uint8_t query[9][chunk_bytes];
  // Two blocks of 64 cached tokens. The first buffer has the even blocks of a segment, the second
  // one the odd blocks.
  std::uint8_t keys[2][Chunks][chunk_bytes];
  std::uint8_t left_weights[chunk_bytes];  // the left consumer's P

  float left_max[tile_rows];   // reference maximum of each row after an even block
  float right_max[tile_rows];  // reference maximum of each row after an odd block
  // [consumer]: Σ P of a row, and Σ of the rounded P. A consumer overwrites them one segment later.
  // It needs the queries of that segment first, and these are loaded only after the other consumer
  // has read the sums.
  float2 sums[2][tile_rows];
  SegmentQueue segments;
  std::uint32_t sink;  // of touch()

  std::uint64_t keys_ready[2][key_parts];
  std::uint64_t tail_landed[2];  // of the last block of a request, whose tail must still be cleared
  std::uint64_t keys_free[2][key_parts];
  pipeline::RingBarriers<1> query_barriers;
  std::uint64_t shown[Handoff::barriers];
};

static_assert(sizeof(SharedStorage<9>) <= tile::max_shared_bytes);

// Shared addresses of the members. `base` is the real address of the storage. In a cluster its
// upper bits name the CTA.
template <int Chunks>
struct SharedAddresses {
  using Storage = SharedStorage<Chunks>;
  std::uint32_t base;

  FLASHMLA_DEVICE std::uint32_t at(std::size_t offset) const {
    return base + static_cast<std::uint32_t>(offset);
  }

  FLASHMLA_DEVICE std::uint32_t query(int chunk) const {
    return at(offsetof(Storage, query)) + chunk * chunk_bytes;
  }
  FLASHMLA_DEVICE std::uint32_t keys(int buffer, int chunk) const {
    return at(offsetof(Storage, keys)) + (buffer * Chunks + chunk) * chunk_bytes;
  }
  FLASHMLA_DEVICE std::uint32_t weights(int side) const {
    return side == 0 ? at(offsetof(Storage, left_weights)) : query(8);
  }
  FLASHMLA_DEVICE std::uint32_t max(int side, int row) const {
    return base + (side == 0 ? offsetof(Storage, left_max) : offsetof(Storage, right_max)) +
           row * 4;
  }
  FLASHMLA_DEVICE std::uint32_t sums(int side, int row) const {
    return at(offsetof(Storage, sums)) + (side * tile_rows + row) * sizeof(float2);
  }
  FLASHMLA_DEVICE std::uint32_t sink() const { return at(offsetof(Storage, sink)); }

  // A part of a buffer is a ring of one slot.
  using KeyRing = pipeline::Ring<
      1, pipeline::BarrierAddress<offsetof(Storage, keys_free) - offsetof(Storage, keys_ready)>>;
  FLASHMLA_DEVICE KeyRing key_ring(int buffer, int part) const {
    return {at(offsetof(Storage, keys_ready)) +
            (buffer * key_parts + part) * pipeline::barrier_bytes};
  }
  FLASHMLA_DEVICE pipeline::Ring<1> query_ring() const {
    return {at(offsetof(Storage, query_barriers))};
  }
  // All parts of the last block of a request arrive at this barrier. Only the loading warp waits
  // for it.
  FLASHMLA_DEVICE pipeline::Landing tail_landing(int buffer) const {
    return {at(offsetof(Storage, tail_landed)) + buffer * pipeline::barrier_bytes};
  }
  FLASHMLA_DEVICE Handoff handoff() const { return {at(offsetof(Storage, shown))}; }
};

enum NamedBarrier : int {
  left_scores_issued = 1,  // the left consumer's QK is in the tensor cores' queue
  // Orders the CTA's first block in front of its second one. At a launch all CTAs start their
  // copies together, and the copies that start last arrive last.
  first_block_asked = 2,
  // The mbarriers are set. There is one of these for each role that waits at an instruction of its
  // own.
  barriers_set = 3,
  barriers_set_for_queries = 4,
  barriers_set_for_keys = 5,
};

inline constexpr int warpgroup_threads = 128;
inline constexpr int consumer_threads = 2 * warpgroup_threads;
inline constexpr int threads = 3 * warpgroup_threads;
inline constexpr int key_loader_threads = 2 * 32;

// Registers of a thread after the roles are known. The loading warps leave theirs to the consumers.
inline constexpr int consumer_registers = 232;
inline constexpr int loader_registers = 40;
static_assert(2 * consumer_registers + loader_registers <= 3 * tile::registers_of_thread(threads));

}  // namespace flashmla::sm90::dense_decode::seesaw
