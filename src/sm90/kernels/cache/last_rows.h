// Which rows of a stretch are the last ones of their slots. Only these are written, so that a slot
// that is named twice gets one row as a whole, as on the CPU.
#pragma once

#include <cstdint>

#include "sm90/kernels/cache/place.h"

namespace flashmla::sm90::cache {

// A thread block keeps the slots of its stretch in a hash table and looks up the slots of all later
// rows in it. Nearly all of these are not there, which a bitmap of hashes tells in few
// instructions. All threads of the thread block take part.
class LastRows {
 public:
  // The rows from `first` to `end` − 1, at most p.rows_of_stretch. `memory` is shared memory.
  FLASHMLA_DEVICE LastRows(std::uint32_t* memory, const Params& p, std::int64_t first,
                           std::int64_t end)
      : bitmap_(memory),
        table_(memory + p.slot_table.buckets),
        overwritten_(memory + 2 * p.slot_table.buckets),
        p_(p),
        first_(first) {
    clear();
    __syncthreads();
    for (std::int64_t row = first + threadIdx.x; row < end; row += blockDim.x)
      insert(slot_of(p, row), static_cast<std::uint32_t>(row - first));
    __syncthreads();
    look_up_from(end);
    __syncthreads();
  }

  FLASHMLA_DEVICE bool holds(std::int64_t row) const {
    const auto index = static_cast<std::uint32_t>(row - first_);
    return (overwritten_[index / 32] >> index % 32 & 1) == 0;
  }

 private:
  static constexpr std::uint32_t free_entry = 0xffffffff;

  // An entry has a part of the slot's hash in its high half, and the number of the slot's last row
  // in its low half.
  static FLASHMLA_DEVICE std::uint32_t hash_of(std::int64_t slot) {
    return static_cast<std::uint32_t>(slot) * 0x9e3779b1u;
  }
  FLASHMLA_DEVICE std::uint32_t bucket_of(std::uint32_t hash) const {
    return hash >> p_.slot_table.shift;
  }
  FLASHMLA_DEVICE std::uint32_t bucket_behind(std::uint32_t bucket) const {
    return (bucket + 1) & (p_.slot_table.buckets - 1);
  }

  // The bitmap has 32 bits for each bucket.
  FLASHMLA_DEVICE std::uint32_t bit_of(std::uint32_t hash) const {
    return 1u << (hash >> (p_.slot_table.shift - 5)) % 32;
  }
  static FLASHMLA_DEVICE std::uint32_t row_of(std::uint32_t entry) { return entry & 0xffffu; }

  FLASHMLA_DEVICE void clear() {
    for (std::uint32_t i = threadIdx.x; i < p_.slot_table.buckets; i += blockDim.x) {
      table_[i] = free_entry;
      bitmap_[i] = 0;
    }
    for (std::uint32_t i = threadIdx.x; i < (p_.rows_of_stretch + 31) / 32; i += blockDim.x)
      overwritten_[i] = 0;
  }

  FLASHMLA_DEVICE void mark_overwritten(std::uint32_t index) {
    atomicOr(&overwritten_[index / 32], 1u << index % 32);
  }

  FLASHMLA_DEVICE bool is_of(std::uint32_t entry, std::uint32_t hash, std::int64_t slot) const {
    return (entry ^ hash << 16) < 0x10000u && slot_of(p_, first_ + row_of(entry)) == slot;
  }

  // NOTE: a bucket belongs to the slot that takes it first. From then on its entry only changes to
  // a later row of this slot.
  FLASHMLA_DEVICE void insert(std::int64_t slot, std::uint32_t index) {
    if (!is_slot(p_, slot))
      return;
    const std::uint32_t hash = hash_of(slot);
    const std::uint32_t entry = hash << 16 | index;
    atomicOr(&bitmap_[bucket_of(hash)], bit_of(hash));
    for (std::uint32_t bucket = bucket_of(hash);; bucket = bucket_behind(bucket)) {
      const std::uint32_t found = atomicCAS(&table_[bucket], free_entry, entry);
      if (found == free_entry)
        return;
      if (is_of(found, hash, slot)) {
        const std::uint32_t before = row_of(atomicMax(&table_[bucket], entry));
        return mark_overwritten(min(before, index));
      }
    }
  }

  FLASHMLA_DEVICE void look_up(std::int64_t slot) {
    const std::uint32_t hash = hash_of(slot);
    if ((bitmap_[bucket_of(hash)] & bit_of(hash)) == 0)
      return;
    for (std::uint32_t bucket = bucket_of(hash);; bucket = bucket_behind(bucket)) {
      const std::uint32_t found = table_[bucket];
      if (found == free_entry)
        return;
      if (is_of(found, hash, slot))
        return mark_overwritten(row_of(found));
    }
  }

  // NOTE: four loads are on their way at a time.
  FLASHMLA_DEVICE void look_up_from(std::int64_t first) {
    constexpr int at_a_time = 4;
    for (std::int64_t row = first + threadIdx.x; row < p_.count; row += at_a_time * blockDim.x) {
      std::int64_t slots[at_a_time];
#pragma unroll
      for (int i = 0; i < at_a_time; ++i) {
        const std::int64_t mine = row + i * blockDim.x;
        slots[i] = mine < p_.count ? slot_of(p_, mine) : -1;
      }
#pragma unroll
      for (int i = 0; i < at_a_time; ++i)
        look_up(slots[i]);
    }
  }

  std::uint32_t* bitmap_;
  std::uint32_t* table_;
  std::uint32_t* overwritten_;
  const Params& p_;
  std::int64_t first_;
};

}  // namespace flashmla::sm90::cache
