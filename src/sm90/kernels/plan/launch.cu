#include "sm90/kernels/plan/launch.h"

#include <algorithm>

#include "gpu/launch.h"
#include "sm90/kernels/plan/plan.h"

namespace flashmla::sm90::plan {

namespace {

template <bool ThreadEach>
auto instance(Kind kind) {
  switch (kind) {
    case Kind::batch_invariant:
      return make_schedule<Kind::batch_invariant, ThreadEach>;
    case Kind::two_speeds:
      return make_schedule<Kind::two_speeds, ThreadEach>;
    default:
      return make_schedule<Kind::equal_workers, ThreadEach>;
  }
}

auto kernel_of(Kind kind, bool thread_each) {
  return thread_each ? instance<true>(kind) : instance<false>(kind);
}

}  // namespace

void launch_schedule(const schedule::SplitParams& params, const schedule::PlanMemory& memory,
                     const std::int32_t* lengths, std::int32_t max_tokens, void* stream) {
  const bool thread_each = params.requests <= max_requests_of_threads &&
                           params.workers <= max_requests_of_threads &&
                           schedule::line_fits_32_bits(params, max_tokens);
  const std::int32_t wanted = std::max(params.requests, params.workers) + 1;
  const auto threads =
      static_cast<std::uint32_t>(std::min<std::int32_t>(max_threads, (wanted + 31) / 32 * 32));
  gpu::launch(kernel_of(kind_of(params), thread_each),
              {1, threads, SharedLine::bytes(params, thread_each)}, stream, params, memory, lengths,
              max_tokens);
}

void launch_write_lengths(const std::int32_t* host_lengths, std::int32_t* lengths,
                          std::int32_t count, void* stream) {
  for (std::int32_t begin = 0; begin < count; begin += LengthChunk::most) {
    const std::int32_t size = std::min(LengthChunk::most, count - begin);
    LengthChunk chunk;
    std::copy_n(host_lengths + begin, size, chunk.values);
    gpu::launch(write_lengths, {1, 256}, stream, chunk, lengths + begin, size);
  }
}

void launch_fill_lengths(std::int32_t* lengths, std::int32_t count, std::int32_t tokens,
                         void* stream) {
  gpu::launch(fill_lengths, {1, 256}, stream, lengths, count, tokens);
}

void launch_report_longer(const std::int32_t* lengths, std::int32_t count, std::int32_t most,
                          std::int32_t* status, void* stream) {
  gpu::launch(report_longer, {1, 256}, stream, lengths, count, most, status);
}

void load() {
  cudaFuncAttributes attributes{};
  for (const Kind kind : {Kind::equal_workers, Kind::two_speeds, Kind::batch_invariant})
    for (const bool thread_each : {false, true}) {
      const auto kernel = kernel_of(kind, thread_each);
      gpu::check(cudaFuncGetAttributes(&attributes, kernel), "cudaFuncGetAttributes");
      // A multiprocessor whose memory is divided in another way takes no thread block of a decoding
      // kernel.
      gpu::check(cudaFuncSetAttribute(kernel, cudaFuncAttributePreferredSharedMemoryCarveout,
                                      cudaSharedmemCarveoutMaxShared),
                 "cudaFuncSetAttribute");
    }
  gpu::check(cudaFuncGetAttributes(&attributes, write_lengths), "cudaFuncGetAttributes");
  gpu::check(cudaFuncGetAttributes(&attributes, fill_lengths), "cudaFuncGetAttributes");
  gpu::check(cudaFuncGetAttributes(&attributes, report_longer), "cudaFuncGetAttributes");
}

}  // namespace flashmla::sm90::plan
