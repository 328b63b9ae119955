// `flashmla run`: one dense decoding case of random numbers, its results as .npy files.
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <memory>

#include "flashmla/decode.h"
#include "support/generate.h"
#include "support/numeric.h"
#include "tools/command.h"
#include "tools/dense_options.h"
#include "tools/figures.h"
#include "tools/files.h"
#include "tools/machine.h"
#include "tools/npy.h"
#include "tools/scheduled_plan.h"

namespace flashmla::tools {

namespace {

struct RunOptions {
  DenseOptions dense;
  std::string output;
  bool save_inputs = false;
};

std::vector<std::int64_t> shape_of(const TensorView& view) {
  return {view.shape.begin(), view.shape.begin() + view.rank};
}

// A contiguous bf16 or fp16 tensor as float32.
std::string halves_npy(const TensorView& view) {
  const auto count = static_cast<std::size_t>(view.element_count());
  std::vector<float> values(count);
  support::decode(view.dtype, {static_cast<const std::uint16_t*>(view.data), count}, values);
  return npy_bytes(values, shape_of(view));
}

template <class T>
std::string numbers_npy(const TensorView& view) {
  const auto count = static_cast<std::size_t>(view.element_count());
  return npy_bytes(std::span(static_cast<const T*>(view.data), count), shape_of(view));
}

// The folder is made where only it is missing.
void check_folder(const std::string& folder) {
  const bool there = std::filesystem::is_directory(folder);
  check_writable("--output", there ? folder + "/out.npy" : folder);
}

// Returns the names of the files.
std::vector<std::string> save(const RunOptions& options, const support::DenseTensors& tensors) {
  std::error_code error;
  std::filesystem::create_directory(options.output, error);
  std::vector<std::string> names;
  const auto write = [&](const char* name, const std::string& bytes) {
    write_file("--output", (std::filesystem::path(options.output) / name).string(), bytes);
    names.emplace_back(name);
  };
  write("out.npy", halves_npy(tensors.out.view));
  write("lse.npy", numbers_npy<float>(tensors.lse.view));
  if (!options.save_inputs)
    return names;
  write("q.npy", halves_npy(tensors.q.view));
  write("kv_cache.npy", halves_npy(tensors.kv_cache.view));
  write("block_table.npy", numbers_npy<std::int32_t>(tensors.block_table.view));
  write("lengths.npy", numbers_npy<std::int32_t>(tensors.lengths.view));
  if (options.dense.sink)
    write("attn_sink.npy", numbers_npy<float>(tensors.attn_sink.view));
  return names;
}

// The generator keeps an image of each tensor beside it, and saving decodes one at a time to fp32.
double memory_needed(const support::DenseCase& c) {
  double tokens = 0;
  for (const std::int32_t length : c.lengths)
    tokens += length;
  const double cached = tokens * static_cast<double>(c.kv_heads * c.qk_dim);
  const double rows = static_cast<double>(c.rows()) * static_cast<double>(c.qk_dim + c.v_dim);
  return 4 * (cached + rows) + 8 * std::max(cached, rows);
}

int run_command(RunOptions options) {
  check_folder(options.output);
  const support::DenseCase dense_case = options.dense.to_case();
  const Problem problem = options.dense.problem(dense_case);
  const ScheduledPlan scheduled(problem, dense_case.lengths);
  demand_memory(memory_needed(dense_case));
  support::HostMemory memory;
  const support::DenseTensors tensors(dense_case, memory);
  const auto start = std::chrono::steady_clock::now();
  run(scheduled.plan(), tensors.inputs(), tensors.outputs(), scheduled.run_workspace());
  const std::chrono::duration<double> elapsed = std::chrono::steady_clock::now() - start;
  const std::vector<std::string> names = save(options, tensors);
  fmt::print("{}\nbackend {}, seed {}, first call {}\n", describe(problem),
             scheduled.plan().backend(), dense_case.seed, seconds_text(elapsed.count()));
  fmt::print("wrote to {}: {}\n", options.output, fmt::join(names, ", "));
  return all_right;
}

}  // namespace

Subcommand add_run(CLI::App& parent) {
  CLI::App* app = parent.add_subcommand("run", "Compute one case of random numbers");
  const auto options = std::make_shared<RunOptions>();
  add_dense_options(*app, options->dense);
  app->add_flag("--sink", options->dense.sink, "Draw a sink for each head");
  app->add_option("--softmax-scale", options->dense.softmax_scale, "d_qk^(−1/2) unless given");
  app->add_option("--output", options->output,
                  "Folder for out.npy [b, s_q, h_q, 512] and lse.npy [b, h_q, s_q], both float32")
      ->required();
  app->add_flag("--save-inputs", options->save_inputs,
                "Write q, kv_cache (float32), block_table, lengths and attn_sink as well; what no "
                "request uses of the cache is NaN or infinite");
  app->footer("Example:\n  flashmla run --batch 4 --heads 64 --tokens 4096 --seed 7 --output case");
  return {app, [options] { return run_command(*options); }};
}

}  // namespace flashmla::tools
