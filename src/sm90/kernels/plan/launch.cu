#include "sm90/kernels/plan/launch.h"

#include <algorithm>

#include "cuda/launch.h"
#include "sm90/kernels/plan/plan.h"

namespace flashmla::sm90::plan {

namespace {

auto kernel_of(bool batch_invariant, bool thread_each) {
  if (batch_invariant)
    return thread_each ? make_schedule<true, true> : make_schedule<true, false>;
  return thread_each ? make_schedule<false, true> : make_schedule<false, false>;
}

}  // namespace

void launch_schedule(const schedule::SplitParams& params, const schedule::PlanMemory& memory,
                     const std::int32_t* lengths, std::int32_t most_tokens, void* stream) {
  const bool thread_each = params.requests <= most_requests_of_threads;
  const std::int32_t wanted = std::max(params.requests, params.workers) + 1;
  const auto threads =
      static_cast<std::uint32_t>(std::min<std::int32_t>(most_threads, (wanted + 31) / 32 * 32));
  cuda::launch(kernel_of(params.batch_invariant, thread_each),
               {1, threads, SharedLine::bytes(params, thread_each)}, stream, params, memory,
               lengths, most_tokens);
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
  for (const bool batch_invariant : {false, true})
    for (const bool thread_each : {false, true}) {
      const auto kernel = kernel_of(batch_invariant, thread_each);
      cuda::check(cudaFuncGetAttributes(&attributes, kernel), "cudaFuncGetAttributes");
      // A multiprocessor that divides its memory otherwise takes no block of a decoding kernel.
      cuda::check(cudaFuncSetAttribute(kernel, cudaFuncAttributePreferredSharedMemoryCarveout,
                                       cudaSharedmemCarveoutMaxShared),
                  "cudaFuncSetAttribute");
    }
  cuda::check(cudaFuncGetAttributes(&attributes, write_lengths), "cudaFuncGetAttributes");
}

}  // namespace flashmla::sm90::plan
