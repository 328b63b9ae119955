// The threads of one block as the team that runs split_kv. The kernel runs once and finds the
// instruction cache cold, so that what several loops need is out of line: the second use is warm.
#pragma once

#include <cstdint>

#include "schedule/split_kv.h"
#include "sm90/ptx/device.h"

namespace flashmla::sm90::plan {

inline constexpr int most_threads = 1024;
inline constexpr std::uint32_t all_lanes = 0xffffffff;

// Σ over this lane and those before it.
__device__ __noinline__ inline std::int64_t scan_of_warp(std::int64_t sum) {
#pragma unroll 1
  for (std::uint32_t distance = 1; distance < 32; distance *= 2) {
    const std::int64_t other = __shfl_up_sync(all_lanes, sum, distance);
    if (threadIdx.x % 32 >= distance)
      sum += other;
  }
  return sum;
}

// The largest of the warp's values, none of them negative.
__device__ __noinline__ inline std::int64_t max_of_warp(std::int64_t value) {
  const auto high = static_cast<std::uint32_t>(value >> 32);
  const std::uint32_t largest_high = __reduce_max_sync(all_lanes, high);
  const std::uint32_t largest_low =
      __reduce_max_sync(all_lanes, high == largest_high ? static_cast<std::uint32_t>(value) : 0);
  return static_cast<std::int64_t>(std::uint64_t{largest_high} << 32 | largest_low);
}

class BlockTeam {
 public:
  struct SharedStorage {
    std::int64_t sum[most_threads / 32];      // of each warp
    std::int64_t largest[most_threads / 32];  // the same
  };

  FLASHMLA_DEVICE explicit BlockTeam(SharedStorage& shared) : shared_(&shared) {}

  template <class Sum, class Value>
  FLASHMLA_DEVICE void scan(std::int32_t n, Sum* prefix, Value value) const {
    scan_and_max(n, prefix, value, [](std::int32_t) { return std::int64_t{0}; });
  }

  // Each thread takes a run of neighbours.
  template <class Sum, class Value, class Candidate>
  FLASHMLA_DEVICE std::int64_t scan_and_max(std::int32_t n, Sum* prefix, Value value,
                                            Candidate candidate) const {
    const std::int32_t each =
        n <= static_cast<std::int32_t>(blockDim.x) ? 1 : (n + blockDim.x - 1) / blockDim.x;
    const std::int32_t begin = min(n, static_cast<std::int32_t>(threadIdx.x) * each);
    const std::int32_t end = min(n, begin + each);
    OfBlock own{0, 0};
#pragma unroll 1
    for (std::int32_t i = begin; i < end; ++i) {
      prefix[i] = static_cast<Sum>(value(i));
      own.sum += prefix[i];
      own.largest = schedule::larger<std::int64_t>(own.largest, candidate(i));
    }
    const OfBlock all = of_block(own, *shared_);
    std::int64_t before = all.sum;
#pragma unroll 1
    for (std::int32_t i = begin; i < end; ++i) {
      const Sum here = prefix[i];
      prefix[i] = static_cast<Sum>(before);
      before += here;
    }
    if (threadIdx.x == blockDim.x - 1)
      prefix[n] = static_cast<Sum>(before);
    __syncthreads();
    return all.largest;
  }

  template <class Body>
  FLASHMLA_DEVICE void for_each(std::int32_t n, Body body) const {
#pragma unroll 1
    for (auto i = static_cast<std::int32_t>(threadIdx.x); i < n; i += blockDim.x)
      body(i);
    __syncthreads();
  }

 private:
  struct OfBlock {
    std::int64_t sum;
    std::int64_t largest;
  };

  // Σ over the threads before this one, and the largest of all. The caller lets all threads meet
  // before the next use of `shared`.
  static __device__ __noinline__ OfBlock of_block(OfBlock own, SharedStorage& shared) {
    const std::uint32_t lane = threadIdx.x % 32;
    const std::uint32_t warp = threadIdx.x / 32;
    const bool there = lane < blockDim.x / 32;
    const std::int64_t inside = scan_of_warp(own.sum);
    const std::int64_t largest = max_of_warp(own.largest);
    if (lane == 31) {
      shared.sum[warp] = inside;
      shared.largest[warp] = largest;
    }
    __syncthreads();
    const std::int64_t warps = scan_of_warp(there ? shared.sum[lane] : 0);
    const std::int64_t before = __shfl_sync(all_lanes, warps, warp - 1);
    return {(warp == 0 ? 0 : before) + inside - own.sum,
            max_of_warp(there ? shared.largest[lane] : 0)};
  }

  SharedStorage* shared_;
};

}  // namespace flashmla::sm90::plan
