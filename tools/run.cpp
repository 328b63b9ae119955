// `flashmla run`: one case of random numbers, its results as .npy files.
#include <fmt/format.h>
#include <CLI/CLI.hpp>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <limits>
#include <memory>

#include "flashmla/decode.h"
#include "flashmla/kv_cache.h"
#include "support/generate.h"
#include "support/sparse_generate.h"
#include "tools/command.h"
#include "tools/dense_options.h"
#include "tools/figures.h"
#include "tools/files.h"
#include "tools/host_copy.h"
#include "tools/machine.h"
#include "tools/npy_tensors.h"
#include "tools/option_values.h"
#include "tools/scheduled_plan.h"
#include "tools/sparse_options.h"

namespace flashmla::tools {

namespace {

constexpr double max_float = std::numeric_limits<float>::max();

struct RunOptions {
  std::string kind = "dense";
  DenseOptions dense;
  SparseOptions sparse;
  std::string output;
  bool save_inputs = false;
};

// The folder is made where only it is missing.
void check_folder(const std::string& folder) {
  const bool there = std::filesystem::is_directory(folder);
  check_writable("--output", there ? folder + "/out.npy" : folder);
}

// Writes the files of a case into its folder and keeps their names.
class Files {
 public:
  explicit Files(const std::string& folder) : folder_(folder) {
    std::error_code error;
    std::filesystem::create_directory(folder, error);
  }

  void write(const char* name, const std::string& bytes) {
    write_file("--output", (std::filesystem::path(folder_) / name).string(), bytes);
    names_.emplace_back(name);
  }

  const std::vector<std::string>& names() const { return names_; }

 private:
  std::string folder_;
  std::vector<std::string> names_;
};

Files save(const RunOptions& options, const support::DenseTensors& tensors,
           support::Memory& memory) {
  Files files(options.output);
  const auto halves = [&](const support::GuardedTensor& tensor) {
    return halves_npy(HostCopy(memory, tensor.view).view());
  };
  const auto integers = [&](const support::GuardedTensor& tensor) {
    return numbers_npy<std::int32_t>(HostCopy(memory, tensor.view).view());
  };
  const auto floats = [&](const support::GuardedTensor& tensor) {
    return numbers_npy<float>(HostCopy(memory, tensor.view).view());
  };
  files.write("out.npy", halves(tensors.out));
  files.write("lse.npy", floats(tensors.lse));
  if (!options.save_inputs)
    return files;
  files.write("q.npy", halves(tensors.q));
  files.write("kv_cache.npy", halves(tensors.kv_cache));
  files.write("block_table.npy", integers(tensors.block_table));
  files.write("lengths.npy", integers(tensors.lengths));
  if (options.dense.sink)
    files.write("attn_sink.npy", floats(tensors.attn_sink));
  return files;
}

// The numbers that a cache stands for.
std::string cache_npy(const TensorView& cache, KvFormat format) {
  if (is_plain(format))
    return halves_npy(cache);
  const std::int64_t qk_dim = format_qk_dim(format);
  std::vector<std::uint16_t> numbers(
      static_cast<std::size_t>(cache.shape[0] * cache.shape[1] * qk_dim));
  const TensorView plain(numbers.data(), DType::bf16, {cache.shape[0], cache.shape[1], 1, qk_dim});
  dequantise(cache, format, plain);
  return halves_npy(plain);
}

Files save(const RunOptions& options, const support::SparseTensors& tensors,
           support::Memory& memory) {
  Files files(options.output);
  const auto floats = [&](const TensorView& tensor) {
    return numbers_npy<float>(HostCopy(memory, tensor).view());
  };
  const auto integers = [&](const TensorView& tensor) {
    return numbers_npy<std::int32_t>(HostCopy(memory, tensor).view());
  };
  const auto halves = [&](const TensorView& tensor) {
    return halves_npy(HostCopy(memory, tensor).view());
  };
  const Inputs inputs = tensors.inputs();
  const Outputs outputs = tensors.outputs();
  files.write("out.npy", halves(outputs.out));
  files.write("lse.npy", floats(outputs.lse));
  if (outputs.max_logits.given())
    files.write("max_logits.npy", floats(outputs.max_logits));
  if (!options.save_inputs)
    return files;
  const KvFormat format = tensors.sparse_case.format;
  files.write("q.npy", halves(inputs.q));
  files.write("kv_cache.npy", cache_npy(HostCopy(memory, inputs.kv_cache).view(), format));
  files.write("indices.npy", integers(inputs.indices));
  if (inputs.extra_indices.given()) {
    files.write("extra_kv_cache.npy",
                cache_npy(HostCopy(memory, inputs.extra_kv_cache).view(), format));
    files.write("extra_indices.npy", integers(inputs.extra_indices));
  }
  if (inputs.attn_sink.given())
    files.write("attn_sink.npy", floats(inputs.attn_sink));
  return files;
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

double memory_needed(const support::SparseCase& c) {
  const auto slots =
      static_cast<double>(c.num_pages * c.page_size + c.extra_pages * c.extra_page_size);
  const double rows = static_cast<double>(c.rows()) * static_cast<double>(c.qk_dim + c.v_dim);
  const double lists = static_cast<double>(c.batch * c.query_tokens * (c.topk + c.extra_topk));
  return 8 * slots * static_cast<double>(c.qk_dim) + 12 * rows + 8 * lists;
}

// One call, and what it left behind.
template <class Tensors, class Case>
int compute(const RunOptions& options, const Case& chosen, const ScheduledPlan& scheduled,
            support::Memory& memory) {
  demand_memory("--batch, --tokens", memory_needed(chosen));
  const Tensors tensors(chosen, memory);
  const auto start = std::chrono::steady_clock::now();
  run(scheduled.plan(), tensors.inputs(), tensors.outputs(), scheduled.run_workspace());
  memory.wait();
  const std::chrono::duration<double> elapsed = std::chrono::steady_clock::now() - start;
  const Files files = save(options, tensors, memory);
  fmt::print("{}\nbackend {}, seed {}, first call {}\n", describe(scheduled.plan().problem()),
             scheduled.plan().backend(), chosen.seed, seconds_text(elapsed.count()));
  fmt::print("wrote to {}: {}\n", options.output, fmt::join(files.names(), ", "));
  return all_right;
}

int run_command(RunOptions options) {
  check_folder(options.output);
  const AttentionKind kind = kind_named(options.kind);
  const auto memory = memory_of_backend(options.dense.backend);
  if (kind == AttentionKind::dense_decode) {
    const support::DenseCase dense_case = options.dense.to_case();
    const ScheduledPlan scheduled(options.dense.problem(dense_case), dense_case.lengths, *memory);
    return compute<support::DenseTensors>(options, dense_case, scheduled, *memory);
  }
  const support::SparseCase sparse_case = sparse_case_of(kind, options.dense, options.sparse);
  const ScheduledPlan scheduled(problem_of(sparse_case, memory->device()), {}, *memory);
  return compute<support::SparseTensors>(options, sparse_case, scheduled, *memory);
}

}  // namespace

Subcommand add_run(CLI::App& parent) {
  CLI::App* app = parent.add_subcommand("run", "Compute one case of random numbers");
  const auto options = std::make_shared<RunOptions>();
  add_choice_option(*app, "--kind", options->kind, {"dense", "sparse", "prefill"},
                    "Dense decoding, sparse decoding, sparse prefill");
  add_dense_options(*app, options->dense);
  add_sparse_options(*app, options->sparse);
  add_switch(*app, "--sink", options->dense.sink, "Draw a sink for each head");
  add_number_option(*app, "--softmax-scale", options->dense.softmax_scale, -max_float, max_float,
                    "d_qk^(−1/2) unless given");
  add_text_option(*app, "--output", options->output, "FOLDER",
                  "Folder for out.npy [b, s_q, h_q, 512] and lse.npy [b, h_q, s_q]; prefill: "
                  "[s_q, h_q, 512], [s_q, h_q] and max_logits.npy; all float32")
      ->required();
  add_switch(*app, "--save-inputs", options->save_inputs,
             "Write q, kv_cache (float32), block_table and lengths or indices, and attn_sink as "
             "well; what no request uses of the cache is NaN or infinite");
  app->footer(
      "Example:\n  flashmla run --batch 4 --heads 64 --tokens 4096 --seed 7 --output case\n"
      "  flashmla run --kind sparse --format v32 --heads 128 --tokens 4096 --output case");
  return {app, [options] { return run_command(*options); }};
}

}  // namespace flashmla::tools
