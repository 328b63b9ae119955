#include "tools/dense_options.h"

#include <fmt/format.h>
#include <CLI/CLI.hpp>

#include <algorithm>
#include <charconv>
#include <fstream>
#include <limits>
#include <system_error>

#include "flashmla/backends.h"
#include "flashmla/error.h"
#include "support/device/memory_of.h"
#include "support/python_random.h"
#include "support/random.h"
#include "tools/command.h"
#include "tools/option_values.h"

namespace flashmla::tools {

namespace {

constexpr std::int32_t max_tokens = std::numeric_limits<std::int32_t>::max();
constexpr std::int64_t max_workers = 65536;

constexpr const char* wanted_lengths =
    "numbers of tokens, 0 … 2147483647, with one comma between two";

// Reads numbers of tokens with a comma or white space between them; a comma may end the text.
// Returns false on any other text.
bool add_lengths(std::string_view text, std::vector<std::int32_t>& lengths) {
  const auto skip_space = [&] {
    while (!text.empty() && (text[0] == ' ' || text[0] == '\t' || text[0] == '\r'))
      text.remove_prefix(1);
  };
  for (skip_space(); !text.empty(); skip_space()) {
    std::int32_t length = -1;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), length);
    if (error != std::errc() || length < 0)
      return false;
    text.remove_prefix(static_cast<std::size_t>(end - text.data()));
    const std::size_t before = text.size();
    skip_space();
    if (!text.empty() && text[0] == ',')
      text.remove_prefix(1);
    else if (!text.empty() && text.size() == before)
      return false;
    lengths.push_back(length);
  }
  return true;
}

}  // namespace

KvFormat format_named(const std::string& name) {
  for (const KvFormat format : {KvFormat::bf16, KvFormat::fp16, KvFormat::v32, KvFormat::v4})
    if (name == name_of(format))
      return format;
  throw BadInput(fmt::format("--format: given {}, wanted bf16, fp16, v32 or v4", shown(name)));
}

Device device_of_backend(const std::string& backend) {
  for (const BackendDescription& known : list_backends()) {
    if (known.name != backend)
      continue;
    if (!known.unavailable.empty())
      throw Error(ErrorCode::unsupported, "--backend", backend,
                  fmt::format("one that this machine can use ({})", known.unavailable));
    return {backend == "cuda" ? DeviceType::cuda : DeviceType::cpu, 0};
  }
  if (backend == "cuda")
    throw Error(ErrorCode::unsupported, "--backend", backend,
                "one of this build, which has no CUDA backend");
  throw BadInput(fmt::format("--backend: given {}, wanted cpu or cuda", shown(backend)));
}

std::unique_ptr<support::Memory> memory_of_backend(const std::string& backend) {
  device_of_backend(backend);  // throws where this machine cannot use it
  return support::memory_of(backend);
}

std::vector<std::int32_t> read_lengths(const std::string& path) {
  std::ifstream file(path);
  if (!file)
    throw BadInput(
        fmt::format("--lengths-file: given {}, wanted a file that can be read", shown(path)));
  std::vector<std::int32_t> lengths;
  std::int64_t number = 0;
  for (std::string line; std::getline(file, line);) {
    ++number;
    if (!add_lengths(line, lengths))
      throw BadInput(fmt::format("--lengths-file: {}, line {}: given {}, wanted {}", path, number,
                                 shown(line), wanted_lengths));
  }
  if (file.bad() || lengths.empty())
    throw BadInput(
        fmt::format("--lengths-file: given {}, wanted a file with lengths", shown(path)));
  return lengths;
}

std::vector<std::int32_t> varlen_lengths(std::int64_t batch, std::int64_t tokens,
                                         std::int64_t least, std::uint64_t seed) {
  support::PythonRandom random(seed);
  const auto mean = static_cast<double>(tokens);
  std::vector<std::int32_t> lengths;
  for (std::int64_t r = 0; r < batch; ++r)
    lengths.push_back(static_cast<std::int32_t>(
        std::clamp(random.normal(mean, mean / 2), static_cast<double>(least), 2e9)));
  return lengths;
}

support::DenseCase DenseOptions::to_case() {
  if (!seed)
    seed = support::fresh_seed();
  support::DenseCase made;
  made.seed = *seed;
  made.type = format == "fp16" ? DType::fp16 : DType::bf16;
  if (!lengths.empty())
    made.lengths = lengths;
  else if (!lengths_file.empty())
    made.lengths = read_lengths(lengths_file);
  else if (varlen)
    made.lengths = varlen_lengths(batch, tokens, query_tokens, *seed);
  else
    made.lengths.assign(static_cast<std::size_t>(batch), static_cast<std::int32_t>(tokens));
  made.query_tokens = query_tokens;
  made.query_heads = query_heads;
  made.kv_heads = kv_heads;
  made.qk_dim = qk_dim;
  made.page_size = page_size;
  made.causal = causal;
  made.sink = sink;
  made.softmax_scale = softmax_scale;
  made.batch_invariant = batch_invariant;
  made.max_workers = max_workers;
  return made;
}

Problem DenseOptions::problem(const support::DenseCase& dense_case) const {
  Problem problem = problem_of(dense_case, device_of_backend(backend));
  problem.kv_format = format_named(format);
  if (threads > 0)
    set_cpu_threads(threads);
  return problem;
}

void add_format_option(CLI::App& app, std::string& format) {
  add_choice_option(app, "--format", format, {"bf16", "fp16", "v32", "v4"}, "Of the cache");
}

void add_backend_options(CLI::App& app, std::string& backend, int& threads) {
  add_backend_option(app, backend);
  add_integer_option(app, "--threads", threads, 0, 4096,
                     "Of the CPU backend; 0: all that the process may use");
}

void add_backend_option(CLI::App& app, std::string& backend) {
  add_choice_option(app, "--backend", backend, {"cpu", "cuda"}, "Backend, and so the device");
}

void add_qk_dim_option(CLI::App& app, std::int64_t& qk_dim) {
  const auto take = [&qk_dim](const std::string& text) {
    if (text != "512" && text != "576")
      throw CLI::ValidationError("--d-qk", fmt::format("given {}, wanted 576 or 512", shown(text)));
    qk_dim = text == "512" ? 512 : 576;
  };
  show_default(add_value_option(app, "--d-qk", "INT", take, "576 or 512"), std::to_string(qk_dim));
}

void add_kv_heads_option(CLI::App& app, std::int64_t& kv_heads) {
  add_integer_option(app, "--kv-heads", kv_heads, 1, max_heads, "h_kv, KV heads");
}

namespace {

// The options that say how long requests are. Each way to say it excludes the others.
void add_length_options(CLI::App& app, DenseOptions& o) {
  auto* batch = add_integer_option(app, "--batch", o.batch, 0, max_requests, "Requests");
  auto* tokens = add_integer_option(app, "--tokens", o.tokens, 0, max_tokens,
                                    "Tokens in each request's cache");
  auto* varlen =
      add_switch(app, "--varlen", o.varlen, "Draw each length from normal(tokens, tokens / 2)");
  const auto take = [&o](const std::string& text) {
    if (text.empty() || text.ends_with(',') || !add_lengths(text, o.lengths))
      throw CLI::ValidationError("--lengths",
                                 fmt::format("given {}, wanted {}", shown(text), wanted_lengths));
  };
  auto* lengths = add_repeated_option(app, "--lengths", "INT,INT,…", take,
                                      "Tokens of each request: 100,7,2048");
  lengths->allow_extra_args()->excludes(tokens)->excludes(batch)->excludes(varlen);
  add_text_option(app, "--lengths-file", o.lengths_file, "PATH", "The same from a file of numbers")
      ->excludes(tokens)
      ->excludes(batch)
      ->excludes(varlen)
      ->excludes(lengths);
}

}  // namespace

void add_dense_options(CLI::App& app, DenseOptions& o) {
  add_length_options(app, o);
  add_integer_option(app, "--query-tokens", o.query_tokens, 1, max_requests,
                     "s_q, query tokens of a request");
  add_integer_option(app, "--heads", o.query_heads, 1, max_heads, "h_q, query heads");
  add_kv_heads_option(app, o.kv_heads);
  add_qk_dim_option(app, o.qk_dim);
  add_integer_option(app, "--page-size", o.page_size, 1, max_tokens, "Tokens in a page");
  add_format_option(app, o.format);
  add_backend_options(app, o.backend, o.threads);
  add_switch(app, "--causal", o.causal, "Query token t sees tokens up to s_k − s_q + t");
  add_switch(app, "--batch-invariant", o.batch_invariant,
             "Results do not depend on the other requests of the batch");
  add_integer_option(app, "--max-workers", o.max_workers, 0, max_workers,
                     "Workers that may be used; 0 is all");
  add_seed_option(app, o.seed, "Seed of all random numbers; a fresh one is printed");
}

}  // namespace flashmla::tools
