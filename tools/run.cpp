// `flashmla run`: computes one case of random numbers and writes its results as .npy files.
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

// Refuses a folder that cannot be written. One whose parent exists will be made.
void check_folder(const std::string& folder) {
  const bool there = std::filesystem::is_directory(folder);
  check_writable("--output", there ? folder + "/out.npy" : folder);
}

// Writes the tensors of a case as files of its folder and keeps their names.
class Files {
 public:
  Files(const std::string& folder, support::Memory& memory) : folder_(folder), memory_(memory) {
    std::error_code error;
    std::filesystem::create_directory(folder, error);
  }

  void halves(const char* name, const TensorView& tensor) {
    write(name, halves_npy(HostCopy(memory_, tensor).view()));
  }
  template <class Number>
  void numbers(const char* name, const TensorView& tensor) {
    write(name, numbers_npy<Number>(HostCopy(memory_, tensor).view()));
  }
  void cache(const char* name, const TensorView& tensor, KvFormat format);

  // Writes out, lse and, where the call gives them, max_logits.
  void results(const Outputs& outputs) {
    halves("out.npy", outputs.out);
    numbers<float>("lse.npy", outputs.lse);
    if (outputs.max_logits.given())
      numbers<float>("max_logits.npy", outputs.max_logits);
  }

  const std::vector<std::string>& names() const { return names_; }

 private:
  void write(const char* name, const std::string& bytes) {
    write_file("--output", (std::filesystem::path(folder_) / name).string(), bytes);
    names_.emplace_back(name);
  }

  std::string folder_;
  support::Memory& memory_;
  std::vector<std::string> names_;
};

// Writes a cache as numbers; those of an FP8 format are dequantised.
void Files::cache(const char* name, const TensorView& tensor, KvFormat format) {
  if (is_plain(format))
    return halves(name, tensor);
  const HostCopy copy(memory_, tensor);
  const auto& shape = copy.view().shape;
  const std::int64_t qk_dim = format_qk_dim(format);
  std::vector<std::uint16_t> numbers(static_cast<std::size_t>(shape[0] * shape[1] * qk_dim));
  const TensorView plain(numbers.data(), DType::bf16, {shape[0], shape[1], 1, qk_dim});
  dequantise(copy.view(), format, plain);
  write(name, halves_npy(plain));
}

// Writes the inputs that every kind of attention has.
void save_inputs(Files& files, const Inputs& inputs, KvFormat format) {
  files.halves("q.npy", inputs.q);
  files.cache("kv_cache.npy", inputs.kv_cache, format);
  if (inputs.attn_sink.given())
    files.numbers<float>("attn_sink.npy", inputs.attn_sink);
}

void save_lists(Files& files, const support::DenseTensors& tensors) {
  files.numbers<std::int32_t>("block_table.npy", tensors.block_table.view);
  files.numbers<std::int32_t>("lengths.npy", tensors.lengths.view);
}

void save_lists(Files& files, const support::SparseTensors& tensors) {
  const Inputs inputs = tensors.inputs();
  files.numbers<std::int32_t>("indices.npy", inputs.indices);
  if (!inputs.extra_indices.given())
    return;
  files.cache("extra_kv_cache.npy", inputs.extra_kv_cache, tensors.sparse_case.format);
  files.numbers<std::int32_t>("extra_indices.npy", inputs.extra_indices);
}

// The bytes that a case needs. The generator keeps an image of each tensor beside it, and saving
// decodes one tensor at a time to fp32.
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

// Makes one call and saves its results.
template <class Tensors, class Case>
int compute(const RunOptions& options, const Case& chosen, const ScheduledPlan& scheduled,
            support::Memory& memory) {
  demand_memory("--batch, --tokens", memory_needed(chosen));
  const Tensors tensors(chosen, memory);
  const auto start = std::chrono::steady_clock::now();
  run(scheduled.plan(), tensors.inputs(), tensors.outputs(), scheduled.run_workspace());
  memory.wait();
  const std::chrono::duration<double> elapsed = std::chrono::steady_clock::now() - start;
  Files files(options.output, memory);
  files.results(tensors.outputs());
  if (options.save_inputs) {
    save_inputs(files, tensors.inputs(), scheduled.plan().problem().kv_format);
    save_lists(files, tensors);
  }
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
