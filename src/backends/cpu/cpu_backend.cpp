#include "backends/cpu/cpu_backend.h"

#include <algorithm>
#include <atomic>

#include "backends/cpu/cache_rows.h"
#include "backends/cpu/dense_decode.h"
#include "backends/cpu/isa.h"
#include "backends/cpu/merge.h"
#include "backends/cpu/partials.h"
#include "backends/cpu/row_tiles.h"
#include "backends/cpu/sparse_attention.h"
#include "backends/cpu/thread_pool.h"
#include "core/check.h"

namespace flashmla::backends::cpu {

namespace {

// The number of work units of a call: workers of the schedule × row tiles. It is a constant, so
// that the schedule and all bits of a result do not depend on the number of threads.
constexpr std::int64_t work_units = 128;

schedule::SplitParams split_params(const Problem& problem) {
  const RowTiles tiles(problem);
  std::int64_t workers = std::max<std::int64_t>(1, work_units / tiles.total);
  if (problem.max_workers > 0)
    workers = std::min<std::int64_t>(workers, problem.max_workers);
  // With so many tiles there is one worker, which splits no request. The results are then
  // batch-invariant without fixed pieces and without partial results.
  const bool never_split = tiles.total >= work_units;
  return {.requests = static_cast<std::int32_t>(ScheduleShape(problem).requests),
          .workers = static_cast<std::int32_t>(workers),
          .block_tokens = max_tile_tokens,
          .cost = schedule::cpu_cost_model(tiles.rows),
          .batch_invariant = problem.batch_invariant && !never_split};
}

class CpuComputation final : public Computation {
 public:
  CpuComputation(const Problem& problem, const schedule::SplitParams& split)
      : Computation(problem, split, Partials::form(problem)),
        tile_rows_(RowTiles(problem).tile_rows) {}

  std::string kernel() const override {
    return text(chosen_kernels().name, ", tiles of ", tile_rows_, " rows");
  }

  void run(const PlannedProblem& planned, const Inputs& inputs, const Outputs& outputs,
           float softmax_scale, void* run_workspace, void* /*stream*/) const override {
    const auto compute = planned.problem.kind == AttentionKind::dense_decode ? run_dense_decode
                                                                             : run_sparse_attention;
    compute(chosen_kernels(), planned, inputs, outputs, softmax_scale, run_workspace);
  }

 private:
  std::int64_t tile_rows_;
};

class CpuBackend final : public Backend {
 public:
  std::string_view name() const override { return "cpu"; }
  DeviceType device_type() const override { return DeviceType::cpu; }

  std::int32_t device_count() const override { return 1; }

  std::vector<std::string> devices() const override {
    return {text("cpu:0, ", threads(), " threads, ", chosen_kernels().name)};
  }

  std::optional<std::string> unavailable() const override { return std::nullopt; }

  std::optional<std::string> refuses(const Problem& problem) const override {
    if (problem.kind == AttentionKind::dense_decode && !is_plain(problem.kv_format))
      return text("reads only bf16 and fp16 caches in dense decoding, not ",
                  name_of(problem.kv_format));
    if (problem.ragged_queries)
      return "serves no ragged queries";
    if (problem.split_query && problem.kind != AttentionKind::dense_decode)
      return "takes the query in two parts only in dense decoding";
    if (problem.scaled_cache)
      return "serves no caches with a scale";
    if (problem.device.index != 0)
      return text("has only the device cpu:0, not ", describe(problem.device));
    return std::nullopt;
  }

  std::unique_ptr<const Computation> decide(const Problem& problem) const override {
    return std::make_unique<CpuComputation>(problem, split_params(problem));
  }

  void schedule(PlannedProblem& planned, const TensorView& lengths,
                void* /*stream*/) const override {
    const schedule::PlanMemory memory = planned.memory();
    if (lengths.given())
      std::copy_n(static_cast<const std::int32_t*>(lengths.data), planned.params.requests,
                  memory.lengths);
    else
      std::fill_n(memory.lengths, planned.params.requests,
                  static_cast<std::int32_t>(ScheduleShape(planned.problem).tokens));
    schedule::split_kv(planned.params, memory.lengths, memory.split_memory(),
                       schedule::SerialTeam{});
    *memory.status = 0;
  }

  std::int32_t status(const PlannedProblem& planned, void* /*stream*/) const override {
    return std::atomic_ref<std::int32_t>(*planned.memory().status).load();
  }

  void append(const TensorView& cache, KvFormat format, const TensorView& rows,
              const TensorView& slots, void* /*stream*/) const override {
    append_rows(cache, format, rows, slots);
  }

  void gather(const TensorView& cache, KvFormat format, const TensorView& slots,
              const TensorView& rows, void* /*stream*/) const override {
    gather_rows(cache, format, slots, rows);
  }

  void quantise(const TensorView& plain, const TensorView& cache, KvFormat format,
                void* /*stream*/) const override {
    quantise_cache(plain, cache, format);
  }

  void dequantise(const TensorView& cache, KvFormat format, const TensorView& plain,
                  void* /*stream*/) const override {
    dequantise_cache(cache, format, plain);
  }

  void merge(std::span<const PartialResult> parts, const TensorView& attn_sink,
             const Outputs& outputs, void* /*stream*/) const override {
    merge_parts(parts, attn_sink, outputs);
  }
};

}  // namespace

const Backend& cpu_backend() {
  static const CpuBackend backend;
  return backend;
}

}  // namespace flashmla::backends::cpu
