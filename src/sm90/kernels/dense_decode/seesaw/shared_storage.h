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
inline constexpr int rope_chunk = 8;     // d_qk = 576 alone

// A block of keys arrives and is given back in three parts.
enum KeyPart { left_part, right_part, rope_part, key_parts };

FLASHMLA_DEVICE constexpr int first_chunk_of(KeyPart part) {
  return part * v_half_chunks;
}
FLASHMLA_DEVICE constexpr int chunks_of(KeyPart part) {
  return part == rope_part ? 1 : v_half_chunks;
}

// What a consumer shows to the other one: P and maxima after a block, sums after a segment.
enum class Exchange { weights, sums, count };
using Handoff = pipeline::Handoff<Exchange>;

template <int Chunks>
struct SharedStorage {
  // [chunk][row]; the last chunk is read into registers at a segment's start and its place then
  // holds the right consumer's P. At a segment's end the results pass through the first eight.
  std::uint8_t query[9][chunk_bytes];
  // Two blocks of 64 cached tokens: even blocks of a segment in the first, odd ones in the second.
  std::uint8_t keys[2][Chunks][chunk_bytes];
  std::uint8_t left_weights[chunk_bytes];  // the left consumer's P

  float left_max[tile_rows];   // reference maximum of each row after an even block
  float right_max[tile_rows];  // the same after an odd block
  // [consumer]: Σ P of a row, and Σ P as it is rounded. Written again one segment later, for which
  // the queries have to be there, which are loaded when the other consumer has read them.
  float2 sums[2][tile_rows];
  SegmentQueue segments;
  std::uint32_t sink;  // of touch()

  std::uint64_t keys_ready[2][key_parts];
  std::uint64_t tail_landed[2];  // the last block of a request, whose tail is still to be cleared
  std::uint64_t keys_free[2][key_parts];
  pipeline::RingBarriers<1> query_barriers;
  std::uint64_t shown[Handoff::barriers];
};

static_assert(sizeof(SharedStorage<9>) <= tile::max_shared_bytes);

// Shared addresses of the parts. `base` is the real address of the storage: in a cluster its upper
// bits name the CTA.
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
  // All parts of the last block of a request arrive here. Its loading warp is the one that waits.
  FLASHMLA_DEVICE pipeline::Landing tail_landing(int buffer) const {
    return {at(offsetof(Storage, tail_landed)) + buffer * pipeline::barrier_bytes};
  }
  FLASHMLA_DEVICE Handoff handoff() const { return {at(offsetof(Storage, shown))}; }
};

enum NamedBarrier : int {
  left_scores_issued = 1,  // the left consumer's QK is in the tensor cores' queue
  // The CTA's first block, before its second one: at a launch all CTAs ask at once, and what is
  // asked for last comes last.
  first_block_asked = 2,
  // The mbarriers, that is; for each of those who wait at an instruction of their own.
  barriers_set = 3,
  barriers_set_for_queries = 4,
  barriers_set_for_keys = 5,
};

inline constexpr int warpgroup_threads = 128;
inline constexpr int consumer_threads = 2 * warpgroup_threads;
inline constexpr int threads = 3 * warpgroup_threads;
inline constexpr int key_loader_threads = 2 * 32;

// Of a thread, once the roles are known: the loading warps leave theirs to the consumers.
inline constexpr int consumer_registers = 232;
inline constexpr int loader_registers = 40;
static_assert(2 * consumer_registers + loader_registers <= 3 * tile::registers_of_thread(threads));

}  // namespace flashmla::sm90::dense_decode::seesaw
