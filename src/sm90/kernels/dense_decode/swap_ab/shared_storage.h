// Shared memory of the kernel for tiles of 16 or 32 rows.
#pragma once

#include <cstddef>
#include <cstdint>

#include "sm90/kernels/dense_decode/segment_record.h"
#include "sm90/tile/swizzle.h"

namespace flashmla::sm90::dense_decode::swap_ab {

inline constexpr std::uint32_t chunk_bytes = block_tokens * tile::row_bytes;

// Blocks of keys travel through a ring of slots of a few chunks each.
template <int Chunks>
struct Ring {
  static constexpr int slot_chunks = Chunks % 3 == 0 ? 3 : 4;
  static constexpr int slots_per_block = Chunks / slot_chunks;
  static constexpr std::uint32_t slot_bytes = slot_chunks * chunk_bytes;
};

template <int Chunks, int Rows>
struct SharedStorage {
  // Two whole blocks: what lies together in a page is then asked for at once, as device memory
  // likes it, and blocks of combine find room.
  static constexpr int slots = 2 * Ring<Chunks>::slots_per_block;

  std::uint8_t keys[slots][Ring<Chunks>::slot_bytes];
  std::uint8_t query[Chunks][Rows * tile::row_bytes];
  std::uint8_t weights[Rows * tile::row_bytes];  // P: [row][64 tokens]
  float exchange[2][4][Rows];                    // [turn][warp]: a value of each row
  // At a segment's end: Σ P of each warp's tokens, and the same as P is rounded; of each row.
  float sum[4][Rows];
  float divisor[4][Rows];
  bool out_of_range[4];  // a warp has values that are no good as fp16 numbers
  float row_max[Rows];
  float row_factor[Rows];
  RecordQueue segments;
  std::uint32_t sink;  // of touch()

  std::uint64_t keys_ready[slots];
  std::uint64_t keys_free[slots];
  std::uint64_t query_ready;
  std::uint64_t query_free;
};

static_assert(sizeof(SharedStorage<9, 16>) <= 227 * 1024 - 1024);
static_assert(sizeof(SharedStorage<9, 32>) <= 227 * 1024 - 1024);
static_assert(sizeof(SharedStorage<8, 32>) <= 227 * 1024 - 1024);

// Dynamic shared memory begins here where there is no static one; the kernel checks it.
inline constexpr std::uint32_t shared_start = 1024;

// Shared addresses of the parts. `base` is the real address of the storage: in a cluster its upper
// bits name the CTA.
template <int Chunks, int Rows>
struct SharedAddresses {
  using Storage = SharedStorage<Chunks, Rows>;
  std::uint32_t base;

  FLASHMLA_DEVICE std::uint32_t keys(int slot) const {
    return base + offsetof(Storage, keys) + slot * Ring<Chunks>::slot_bytes;
  }
  FLASHMLA_DEVICE std::uint32_t query(int chunk) const {
    return base + offsetof(Storage, query) + chunk * Rows * tile::row_bytes;
  }
  FLASHMLA_DEVICE std::uint32_t weights() const { return base + offsetof(Storage, weights); }
  FLASHMLA_DEVICE std::uint32_t keys_ready(int slot) const {
    return base + offsetof(Storage, keys_ready) + slot * 8;
  }
  FLASHMLA_DEVICE std::uint32_t keys_free(int slot) const {
    return base + offsetof(Storage, keys_free) + slot * 8;
  }
  FLASHMLA_DEVICE std::uint32_t query_ready() const {
    return base + offsetof(Storage, query_ready);
  }
  FLASHMLA_DEVICE std::uint32_t sink() const { return base + offsetof(Storage, sink); }
  FLASHMLA_DEVICE std::uint32_t query_free() const { return base + offsetof(Storage, query_free); }
};

// A producer's position in the ring: slot, and parity of the round.
template <int Slots>
struct RingPosition {
  int slot = 0;
  std::uint32_t round = 0;

  FLASHMLA_DEVICE void advance() {
    if (++slot == Slots) {
      slot = 0;
      round ^= 1;
    }
  }
};

inline constexpr int consumer_warps = 4;
inline constexpr int consumer_threads = 128;
inline constexpr int key_loader_threads = 32;
inline constexpr int threads = 192;  // one warp loads keys, one the queries
enum NamedBarrier : int {
  consumers_met = 1,
  // The mbarriers, that is; for each of those who wait at an instruction of their own.
  barriers_set = 2,
  barriers_set_for_queries = 3,
};

}  // namespace flashmla::sm90::dense_decode::swap_ab
