// The threads of one thread block as the team that runs split_kv. Thread i takes item i of a loop,
// or all items i modulo the number of threads where there are more items.
#pragma once

#include <cstdint>
#include <type_traits>

#include "schedule/split_kv.h"
#include "sm90/ptx/device.h"

namespace flashmla::sm90::plan {

inline constexpr int max_threads = 1024;
inline constexpr int max_warps = max_threads / 32;
inline constexpr std::uint32_t all_lanes = 0xffffffff;

using schedule::Largest;
using schedule::SplitCounts;

// The values that a scan adds up, as one number of type `Bits`. SplitCounts takes half of it for
// each count.
template <class Bits>
FLASHMLA_DEVICE Bits to_bits(std::int64_t sum) {
  return static_cast<Bits>(sum);
}
template <class Bits>
FLASHMLA_DEVICE Bits to_bits(const SplitCounts& sum) {
  return static_cast<Bits>(sum.steps) << (4 * sizeof(Bits)) | static_cast<Bits>(sum.partials);
}

template <class Sum, class Bits>
FLASHMLA_DEVICE Sum from_bits(Bits bits) {
  if constexpr (std::is_same_v<Sum, SplitCounts>) {
    constexpr int half = 4 * sizeof(Bits);
    return {static_cast<std::int32_t>(bits & ((Bits{1} << half) - 1)),
            static_cast<std::int32_t>(bits >> half)};
  } else {
    return static_cast<Sum>(bits);
  }
}

// Σ over this lane and all lower lanes.
template <class Bits>
FLASHMLA_DEVICE Bits scan_of_warp(Bits sum) {
#pragma unroll
  for (std::uint32_t distance = 1; distance < 32; distance *= 2) {
    const Bits other = __shfl_up_sync(all_lanes, sum, distance);
    if (threadIdx.x % 32 >= distance)
      sum += other;
  }
  return sum;
}

FLASHMLA_DEVICE std::uint32_t sum_of_warp(std::uint32_t value) {
  return __reduce_add_sync(all_lanes, value);
}

// Σ over the values of the warp, which are not negative. Three sums of 22, 22 and 20 bits take no
// longer than one.
FLASHMLA_DEVICE std::uint64_t sum_of_warp(std::uint64_t value) {
  constexpr int bits = 22;
  constexpr std::uint64_t mask = (1 << bits) - 1;
  const auto part = [&](int shift) {
    return std::uint64_t{
        __reduce_add_sync(all_lanes, static_cast<std::uint32_t>(value >> shift & mask))};
  };
  return part(0) + (part(bits) << bits) + (part(2 * bits) << 2 * bits);
}

// The largest of the values of the warp, which are not negative.
FLASHMLA_DEVICE std::int32_t max_of_warp(std::int32_t value) {
  return static_cast<std::int32_t>(__reduce_max_sync(all_lanes, static_cast<std::uint32_t>(value)));
}

FLASHMLA_DEVICE std::int64_t max_of_warp(std::int64_t value) {
  const auto high = static_cast<std::uint32_t>(value >> 32);
  const std::uint32_t largest_high = __reduce_max_sync(all_lanes, high);
  const std::uint32_t largest_low =
      __reduce_max_sync(all_lanes, high == largest_high ? static_cast<std::uint32_t>(value) : 0);
  return static_cast<std::int64_t>(std::uint64_t{largest_high} << 32 | largest_low);
}

template <class Ns>
FLASHMLA_DEVICE Largest<Ns> max_of_warp(const Largest<Ns>& value) {
  return {max_of_warp(value.min_stride), max_of_warp(value.blocks)};
}

// `OneEach`: every loop has fewer items than there are threads, and a scan adds up 32 bits, 16 for
// each of two counts.
template <bool OneEach>
class BlockTeam {
 public:
  using Ns = std::conditional_t<OneEach, std::int32_t, std::int64_t>;
  using Bits = std::make_unsigned_t<Ns>;

  struct SharedStorage {
    Bits sum[max_warps];             // of each warp
    std::uint32_t laid[max_warps];   // of each warp: items with a cost
    Largest<Ns> largest[max_warps];  // of each warp
    Bits before;                     // Σ over all items of earlier rounds
    std::uint32_t laid_before;
  };

  FLASHMLA_DEVICE explicit BlockTeam(SharedStorage& shared) : shared_(&shared) {}

  template <class Value, class Store>
  FLASHMLA_DEVICE void scan(std::int32_t n, Value value, Store store) const {
    run_scan<false>(
        n, value, [](std::int32_t) { return Largest<Ns>{0, 0}; },
        [&](std::int32_t i, std::uint32_t, const auto& before, const auto& own) {
          store(i, before, own);
        });
  }

  template <class Cost, class Candidate, class Store>
  FLASHMLA_DEVICE Largest<Ns> lay_out(std::int32_t n, Cost cost, Candidate candidate,
                                      Store store) const {
    return run_scan<true>(n, cost, candidate, store);
  }

  template <class Body>
  FLASHMLA_DEVICE void for_each(std::int32_t n, Body body) const {
#pragma unroll 1
    for (auto i = static_cast<std::int32_t>(threadIdx.x); i < n; i += blockDim.x) {
      body(i);
      if constexpr (OneEach)
        break;
    }
    __syncthreads();
  }

 private:
  // The total is the sum in front of item n, which has no value.
  template <bool LaysOut, class Value, class Candidate, class Store>
  FLASHMLA_DEVICE Largest<Ns> run_scan(std::int32_t n, Value value, Candidate candidate,
                                       Store store) const {
    using Sum = decltype(value(0));
    const std::uint32_t lane = threadIdx.x % 32;
    const std::uint32_t warp = threadIdx.x / 32;
    Bits before = 0;
    std::uint32_t laid_before = 0;
    Largest<Ns> largest{0, 0};
#pragma unroll 1
    for (std::int32_t base = 0; base <= n; base += blockDim.x) {
      const std::int32_t i = base + static_cast<std::int32_t>(threadIdx.x);
      Sum own{};
      Largest<Ns> most{0, 0};
      if (i < n) {
        own = value(i);
        most = candidate(i);
      }
      const Bits inside = scan_of_warp(to_bits<Bits>(own));
      std::uint32_t laid = 0;  // lanes whose items have a cost
      if constexpr (LaysOut) {
        most = max_of_warp(most);
        laid = __ballot_sync(all_lanes, own > 0);
      }
      if (lane == 31) {
        shared_->sum[warp] = inside;
        if constexpr (LaysOut) {
          shared_->largest[warp] = most;
          shared_->laid[warp] = __popc(laid);
        }
      }
      __syncthreads();
      const Bits upto = before + inside + sum_of_warp(lane < warp ? shared_->sum[lane] : Bits{0});
      std::uint32_t number = laid_before;  // number of the item among the items with a cost
      if constexpr (LaysOut) {
        largest = Largest<Ns>::of(
            largest,
            max_of_warp(lane < blockDim.x / 32 ? shared_->largest[lane] : Largest<Ns>{0, 0}));
        number +=
            __popc(laid & ((1u << lane) - 1)) + sum_of_warp(lane < warp ? shared_->laid[lane] : 0u);
      }
      if (i <= n)
        store(i, number, from_bits<Sum>(upto - to_bits<Bits>(own)), own);
      if constexpr (OneEach)
        break;
      if (threadIdx.x == blockDim.x - 1) {
        shared_->before = upto;
        if constexpr (LaysOut)
          shared_->laid_before = number + (own > 0 ? 1 : 0);
      }
      __syncthreads();
      before = shared_->before;
      if constexpr (LaysOut)
        laid_before = shared_->laid_before;
    }
    __syncthreads();
    return largest;
  }

  SharedStorage* shared_;
};

}  // namespace flashmla::sm90::plan
