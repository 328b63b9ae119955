// The threads of one block as the team that runs split_kv.
#pragma once

#include <cstdint>

#include "schedule/split_kv.h"
#include "sm90/ptx/device.h"

namespace flashmla::sm90::plan {

inline constexpr int most_threads = 1024;

class BlockTeam {
 public:
  struct SharedStorage {
    std::int64_t of_warp[most_threads / 32];
    std::int64_t total;
  };

  FLASHMLA_DEVICE explicit BlockTeam(SharedStorage& shared) : shared_(&shared) {}

  // Each thread takes a run of neighbours.
  template <class Sum, class Value>
  FLASHMLA_DEVICE void scan(std::int32_t n, Sum* prefix, Value value) const {
    const std::int32_t each = (n + blockDim.x - 1) / blockDim.x;
    const std::int32_t begin = min(n, static_cast<std::int32_t>(threadIdx.x) * each);
    const std::int32_t end = min(n, begin + each);
    std::int64_t own = 0;
#pragma unroll 1
    for (std::int32_t i = begin; i < end; ++i) {
      prefix[i] = static_cast<Sum>(value(i));
      own += prefix[i];
    }
    std::int64_t before = sum_of_earlier_threads(own);
#pragma unroll 1
    for (std::int32_t i = begin; i < end; ++i) {
      const Sum here = prefix[i];
      prefix[i] = static_cast<Sum>(before);
      before += here;
    }
    if (threadIdx.x == 0)
      prefix[n] = static_cast<Sum>(shared_->total);
    __syncthreads();
  }

  template <class Value>
  FLASHMLA_DEVICE std::int64_t max(std::int32_t n, Value value) const {
    std::int64_t largest = 0;
#pragma unroll 1
    for (auto i = static_cast<std::int32_t>(threadIdx.x); i < n; i += blockDim.x)
      largest = schedule::larger<std::int64_t>(largest, value(i));
#pragma unroll 1
    for (int distance = 16; distance > 0; distance /= 2)
      largest =
          schedule::larger<std::int64_t>(largest, __shfl_xor_sync(0xffffffffu, largest, distance));
    if (threadIdx.x % 32 == 0)
      shared_->of_warp[threadIdx.x / 32] = largest;
    __syncthreads();
#pragma unroll 1
    for (int warp = 0; warp < static_cast<int>(blockDim.x / 32); ++warp)
      largest = schedule::larger(largest, shared_->of_warp[warp]);
    __syncthreads();
    return largest;
  }

  template <class Body>
  FLASHMLA_DEVICE void for_each(std::int32_t n, Body body) const {
#pragma unroll 1
    for (auto i = static_cast<std::int32_t>(threadIdx.x); i < n; i += blockDim.x)
      body(i);
    __syncthreads();
  }

 private:
  FLASHMLA_DEVICE std::int64_t sum_of_earlier_threads(std::int64_t own) const {
    const int lane = threadIdx.x % 32;
    const int warp = threadIdx.x / 32;
    std::int64_t sum = own;
#pragma unroll 1
    for (int distance = 1; distance < 32; distance *= 2) {
      const std::int64_t other = __shfl_up_sync(0xffffffffu, sum, distance);
      if (lane >= distance)
        sum += other;
    }
    if (lane == 31)
      shared_->of_warp[warp] = sum;
    __syncthreads();
    std::int64_t before = 0;
    std::int64_t total = 0;
#pragma unroll 1
    for (int w = 0; w < static_cast<int>(blockDim.x / 32); ++w) {
      before += w < warp ? shared_->of_warp[w] : 0;
      total += shared_->of_warp[w];
    }
    if (threadIdx.x == 0)
      shared_->total = total;
    __syncthreads();
    return before + sum - own;
  }

  SharedStorage* shared_;
};

}  // namespace flashmla::sm90::plan
