// split_kv on a device: compiled, so that a change which nvcc does not take is seen without a GPU.
#include "schedule/plan_layout.h"
#include "schedule/split_kv.h"

namespace flashmla::schedule {

namespace {

// One thread block; thread 0 adds up.
template <class Ns>
struct BlockTeam {
  Largest<Ns>* shared;

  template <class Value, class Store>
  __device__ void scan(std::int32_t n, Value value, Store store) const {
    if (threadIdx.x == 0)
      SerialTeam{}.scan(n, value, store);
    __syncthreads();
  }

  template <class Cost, class Candidate, class Store>
  __device__ Largest<Ns> lay_out(std::int32_t n, Cost cost, Candidate candidate,
                                 Store store) const {
    if (threadIdx.x == 0)
      *shared = SerialTeam{}.lay_out(n, cost, candidate, store);
    __syncthreads();
    return *shared;
  }

  template <class Body>
  __device__ void for_each(std::int32_t n, Body body) const {
    for (auto i = static_cast<std::int32_t>(threadIdx.x); i < n;
         i += static_cast<std::int32_t>(blockDim.x))
      body(i);
    __syncthreads();
  }
};

template <class Ns>
__global__ void schedule_kernel(SplitParams params, const std::int32_t* lengths,
                                SplitMemory<Ns> memory) {
  __shared__ Largest<Ns> shared;
  split_kv(params, lengths, memory, BlockTeam<Ns>{&shared});
}

template __global__ void schedule_kernel(SplitParams, const std::int32_t*,
                                         SplitMemory<std::int32_t>);

// Walks the finished schedule as a decoding kernel does, and counts its blocks.
__global__ void walk_kernel(SplitParams params, PlanMemory memory, std::int64_t* blocks) {
  std::int64_t count = 0;
  const auto worker = static_cast<std::int32_t>(blockIdx.x);
  for_each_segment(
      memory.walk(params, 1 << 30, 1 << 30), memory.work[worker], worker,
      [&](const Segment& segment) { count += segment.end_block - segment.first_block; });
  blocks[blockIdx.x] = count;
}

}  // namespace

void launch(const SplitParams& params, const PlanMemory& memory, std::int64_t* blocks) {
  schedule_kernel<<<1, 256>>>(params, memory.lengths, memory.split_memory());
  walk_kernel<<<params.workers, 1>>>(params, memory, blocks);
}

}  // namespace flashmla::schedule
