// The model's side of a replay: writes latent rows to a paged cache and computes decode steps, both
// through the library.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "flashmla/flashmla.h"
#include "tools/replay/buffer.h"
#include "tools/replay/server.h"
#include "tools/replay/sparse_lists.h"

namespace flashmla::tools {

using Append = std::function<void(const TensorView& cache, KvFormat format, const TensorView& rows,
                                  const TensorView& slots)>;

struct EngineOptions {
  Device device;
  std::uint64_t seed = 0;
  KvFormat format = KvFormat::bf16;
  std::int64_t heads = 16;
  std::int64_t layers = 1;
  std::int64_t pages = 2048;
  std::int64_t page_size = 64;
  std::int64_t max_pages = 2048;  // pages of the largest request
  std::int64_t max_batch = 32;
  std::int64_t drafts = 1;  // query tokens of a request in each step
  Append append = [](const TensorView& cache, KvFormat kv_format, const TensorView& rows,
                     const TensorView& slots) { flashmla::append(cache, kv_format, rows, slots); };
};

// The attention problem of a step with `batch` requests: sparse over FP8 formats, else dense.
Problem step_problem(const EngineOptions& options, std::int64_t batch);

// One layer's result for one (request, query token, head).
struct Result {
  std::vector<float> out;  // [d_v]
  float lse;
};

// Everything that a step reads or writes lies in the memory of its device; rows and queries are
// made there. The constructor throws the library's Error where no backend serves the problem.
class Engine {
 public:
  static constexpr std::int64_t v_dim = 512;

  // `memory` is of options.device.
  Engine(const EngineOptions& options, support::Memory& memory);

  // Writes the rows of a session's prompt to the caches of all layers.
  void prefill(const Session& session);

  // Writes each session's drafts and attends to them, layer after layer. `after_layer` may call
  // result(). Returns the seconds that schedule and run took; on a GPU they are the device's time.
  double decode(std::span<const Session> sessions,
                const std::function<void(std::int64_t layer)>& after_layer);

  // A result of the layer that was computed last. `slot` is the session's place in the batch.
  Result result(std::int64_t slot, std::int64_t query_token, std::int64_t head) const;

 private:
  TensorView cache(std::int64_t layer) const;
  std::int64_t slot_of(const Session& session, std::int64_t position) const;
  Plan& plan_for(std::int64_t batch);
  void append_rows(const std::uint64_t* keys, std::int64_t count, std::int64_t layer);
  void upload_tables(std::span<const Session> sessions);
  void upload_keys(std::span<const Session> sessions);
  void run_layer(const Plan& plan, std::int64_t batch, std::int64_t layer);

  EngineOptions options_;
  support::Memory& memory_;
  std::unique_ptr<support::Stopwatch> stopwatch_;
  DType type_;
  std::int64_t qk_dim_;
  std::map<std::int64_t, Plan> plans_;  // by batch size
  std::int64_t batch_ = 0;              // of the step computed last
  Buffer plan_workspace_;
  Buffer run_workspace_;
  Buffer cache_;                      // [layers][pages][page_size][qk_dim]
  Buffer rows_;                       // rows on their way into the cache
  Buffer slots_;                      // the slots of these rows
  Buffer queries_;                    // [b, s_q, h_q, qk_dim]
  Buffer out_;                        // [b, s_q, h_q, v_dim]
  Buffer lse_;                        // [b, h_q, s_q]
  Buffer lengths_;                    // [b]
  Buffer block_table_;                // [b, max_pages]
  Buffer row_keys_;                   // [layers][rows]
  Buffer query_keys_;                 // [layers][b, s_q, h_q]
  std::optional<SparseLists> lists_;  // for FP8 formats alone
};

}  // namespace flashmla::tools
