#include "backends/cuda/cuda_backend.h"

#include <cuda_runtime_api.h>

#include <algorithm>
#include <vector>

#include "backends/cuda/dense_decode.h"
#include "backends/cuda/load_kernel.h"
#include "backends/cuda/sparse_decode.h"
#include "core/check.h"
#include "gpu/cuda_check.h"
#include "gpu/device_info.h"
#include "sm90/kernels/cache/launch.h"
#include "sm90/kernels/merge/launch.h"
#include "sm90/kernels/plan/launch.h"

namespace flashmla::backends::cuda {

namespace {

using gpu::check;
using gpu::DeviceInfo;
using gpu::devices;
using gpu::DeviceScope;

constexpr int hopper_major = 9;
constexpr int hopper_minor = 0;

bool is_hopper(const DeviceInfo& device) {
  return device.major == hopper_major && device.minor == hopper_minor;
}

std::string capability_of(const DeviceInfo& device) {
  return text(device.name, ", compute capability ", device.major, ".", device.minor);
}

const DeviceInfo& device_of(const Device& device) {
  return devices().list[static_cast<std::size_t>(device.index)];
}

int multiprocessors_of(const TensorView& tensor) {
  return device_of(tensor.device).multiprocessors;
}

// The multiprocessors that the call may use.
std::int64_t multiprocessors_of(const Problem& problem, const DeviceInfo& device) {
  const std::int64_t all = device.multiprocessors;
  return problem.max_workers > 0 ? std::min<std::int64_t>(all, problem.max_workers) : all;
}

RowTiles tiles_of(const Problem& problem, const DeviceInfo& device) {
  return {problem,
          {.index = problem.device.index,
           .multiprocessors = multiprocessors_of(problem, device),
           .memory_rate = device.memory_bytes_per_second,
           .max_clusters_of_four = max_clusters_of_four}};
}

// Whether the schedule splits a request, where the host knows the lengths.
bool splits_a_request(const PlannedProblem& planned, const std::int32_t* lengths) {
  const schedule::SplitParams& params = planned.params;
  std::vector<std::byte> workspace(schedule::PlanLayout(params).bytes);
  const schedule::PlanMemory memory(schedule::PlanLayout(params), workspace.data());
  schedule::split_kv(params, lengths, memory.split_memory(), schedule::SerialTeam{});
  return memory.split_offset[params.requests] > 0;
}

// The same where all requests have as many tokens. Where they are many, the answer is not worth the
// time of the host.
bool splits_equal_requests(const PlannedProblem& planned, std::int32_t tokens) {
  constexpr std::int32_t max_requests = 2048;
  const std::int32_t requests = planned.params.requests;
  return requests > max_requests ||
         splits_a_request(
             planned, std::vector<std::int32_t>(static_cast<std::size_t>(requests), tokens).data());
}

class CudaBackend final : public Backend {
 public:
  std::string_view name() const override { return "cuda"; }
  DeviceType device_type() const override { return DeviceType::cuda; }

  std::int32_t device_count() const override {
    return static_cast<std::int32_t>(gpu::devices().list.size());
  }

  std::vector<std::string> devices() const override {
    std::vector<std::string> lines;
    for (std::size_t i = 0; i < gpu::devices().list.size(); ++i) {
      const DeviceInfo& device = gpu::devices().list[i];
      lines.push_back(text("cuda:", i, ", ", capability_of(device), ", ", device.multiprocessors,
                           " multiprocessors"));
    }
    return lines;
  }

  std::optional<std::string> unavailable() const override {
    const gpu::Devices& found = gpu::devices();
    if (found.list.empty())
      return found.reason;
    if (std::ranges::none_of(found.list, is_hopper))
      return text("needs a GPU of compute capability 9.0 (Hopper); found ",
                  capability_of(found.list.front()));
    return std::nullopt;
  }

  std::optional<std::string> refuses(const Problem& problem) const override {
    const std::vector<DeviceInfo>& list = gpu::devices().list;
    if (static_cast<std::size_t>(problem.device.index) >= list.size())
      return text("has no ", describe(problem.device), " among its ", list.size(), " devices");
    const DeviceInfo& device = list[static_cast<std::size_t>(problem.device.index)];
    if (!is_hopper(device))
      return text("needs compute capability 9.0 (Hopper); ", describe(problem.device), " is ",
                  capability_of(device));
    switch (problem.kind) {
      case AttentionKind::dense_decode:
        return refuses_dense_decode(problem);
      case AttentionKind::sparse_decode:
        return refuses_sparse_decode(problem);
      default:
        return text("does not compute ", name_of(problem.kind));
    }
  }

  std::unique_ptr<const Computation> decide(const Problem& problem) const override {
    const DeviceInfo& device = device_of(problem.device);
    if (problem.kind == AttentionKind::sparse_decode)
      return std::make_unique<SparseDecode>(
          problem, HeadTiles(problem, multiprocessors_of(problem, device)), device.multiprocessors);
    return std::make_unique<DenseDecode>(problem, tiles_of(problem, device),
                                         device.multiprocessors);
  }

  void schedule(PlannedProblem& planned, const TensorView& lengths, void* stream) const override {
    const DeviceScope scope(planned.problem.device.index);
    const auto* given = static_cast<const std::int32_t*>(lengths.data);
    const auto max_tokens = static_cast<std::int32_t>(ScheduleShape(planned.problem).tokens);
    const schedule::PlanMemory memory = planned.memory();
    planned.may_split = planned.params.workers > 1 || planned.params.batch_invariant;
    if (!lengths.given()) {
      planned.may_split = planned.may_split && splits_equal_requests(planned, max_tokens);
      sm90::plan::launch_fill_lengths(memory.lengths, planned.params.requests, max_tokens, stream);
      given = memory.lengths;
    } else if (lengths.device.type == DeviceType::cpu) {
      planned.may_split = planned.may_split && splits_a_request(planned, given);
      sm90::plan::launch_write_lengths(given, memory.lengths, planned.params.requests, stream);
      given = memory.lengths;
    }
    sm90::plan::launch_schedule(planned.params, memory, given, max_tokens, stream);
  }

  std::int32_t status(const PlannedProblem& planned, void* stream) const override {
    const DeviceScope scope(planned.problem.device.index);
    std::int32_t status = 0;
    auto* const cuda_stream = static_cast<cudaStream_t>(stream);
    check(cudaMemcpyAsync(&status, planned.memory().status, sizeof status, cudaMemcpyDeviceToHost,
                          cuda_stream),
          "cudaMemcpyAsync");
    check(cudaStreamSynchronize(cuda_stream), "cudaStreamSynchronize");
    return status;
  }

  void append(const TensorView& cache, KvFormat format, const TensorView& rows,
              const TensorView& slots, void* stream) const override {
    const DeviceScope scope(cache.device.index);
    sm90::cache::launch_append(cache, format, rows, slots, multiprocessors_of(cache), stream);
  }

  void gather(const TensorView& cache, KvFormat format, const TensorView& slots,
              const TensorView& rows, void* stream) const override {
    const DeviceScope scope(cache.device.index);
    sm90::cache::launch_gather(cache, format, slots, rows, multiprocessors_of(cache), stream);
  }

  void quantise(const TensorView& plain, const TensorView& cache, KvFormat format,
                void* stream) const override {
    const DeviceScope scope(cache.device.index);
    sm90::cache::launch_quantise(plain, cache, format, multiprocessors_of(cache), stream);
  }

  void dequantise(const TensorView& cache, KvFormat format, const TensorView& plain,
                  void* stream) const override {
    const DeviceScope scope(cache.device.index);
    sm90::cache::launch_dequantise(cache, format, plain, multiprocessors_of(cache), stream);
  }

  void merge(std::span<const PartialResult> parts, const TensorView& attn_sink,
             const Outputs& outputs, void* stream) const override {
    if (parts.size() > sm90::merge::max_parts())
      throw Error(ErrorCode::unsupported, "parts", text(parts.size(), " partial results"),
                  text("at most ", sm90::merge::max_parts(), " on a GPU"));
    const DeviceScope scope(outputs.out.device.index);
    sm90::merge::launch(parts, attn_sink, outputs, stream);
  }
};

}  // namespace

const Backend& cuda_backend() {
  static const CudaBackend backend;
  return backend;
}

}  // namespace flashmla::backends::cuda
