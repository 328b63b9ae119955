#include "sm90/kernels/plan/launch.h"

#include <algorithm>

#include "cuda/launch.h"
#include "sm90/kernels/plan/plan.h"

namespace flashmla::sm90::plan {

void launch_schedule(const schedule::SplitParams& params, const schedule::PlanMemory& memory,
                     const std::int32_t* lengths, std::int32_t most_tokens, void* stream) {
  // One thread for each request and each worker, as far as they go.
  const std::int32_t wanted = std::max(params.requests, params.workers);
  const std::uint32_t threads = wanted <= 256 ? 256 : most_threads;
  cuda::launch(params.batch_invariant ? make_schedule<true> : make_schedule<false>, {1, threads},
               stream, params, memory, lengths, most_tokens);
}

void launch_write_lengths(const std::int32_t* host_lengths, std::int32_t* lengths,
                          std::int32_t count, void* stream) {
  for (std::int32_t begin = 0; begin < count; begin += LengthChunk::most) {
    const std::int32_t size = std::min(LengthChunk::most, count - begin);
    LengthChunk chunk;
    std::copy_n(host_lengths + begin, size, chunk.values);
    cuda::launch(write_lengths, {1, 256}, stream, chunk, lengths + begin, size);
  }
}

void load() {
  cudaFuncAttributes attributes{};
  cuda::check(cudaFuncGetAttributes(&attributes, make_schedule<true>), "cudaFuncGetAttributes");
  cuda::check(cudaFuncGetAttributes(&attributes, make_schedule<false>), "cudaFuncGetAttributes");
  cuda::check(cudaFuncGetAttributes(&attributes, write_lengths), "cudaFuncGetAttributes");
}

}  // namespace flashmla::sm90::plan
