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

namespace flashmla::tools {

namespace {

constexpr std::int32_t most_tokens = std::numeric_limits<std::int32_t>::max();
constexpr std::int64_t most_requests = 131072;

template <class Value>
void demand(const char* option, Value value, Value least, Value most) {
  if (value < least || value > most)
    throw BadInput(fmt::format("{}: given {}, wanted {} … {}", option, value, least, most));
}

}  // namespace

KvFormat format_named(const std::string& name) {
  for (const KvFormat format : {KvFormat::bf16, KvFormat::fp16, KvFormat::v32, KvFormat::v4})
    if (name == name_of(format))
      return format;
  throw BadInput(fmt::format("--format: given '{}', wanted bf16, fp16, v32 or v4", name));
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
  throw BadInput(fmt::format("--backend: given '{}', wanted cuda or cpu", backend));
}

std::unique_ptr<support::Memory> memory_of_backend(const std::string& backend) {
  device_of_backend(backend);  // or why not
  return support::memory_of(backend);
}

std::vector<std::int32_t> read_lengths(const std::string& path) {
  std::ifstream file(path);
  if (!file)
    throw BadInput(fmt::format("--lengths-file: cannot read '{}'", path));
  std::vector<std::int32_t> lengths;
  std::int64_t number = 0;
  for (std::string line; std::getline(file, line);) {
    ++number;
    for (const char* rest = line.data(); rest != line.data() + line.size();) {
      if (*rest == ',' || *rest == ' ' || *rest == '\t' || *rest == '\r') {
        ++rest;
        continue;
      }
      std::int32_t length = -1;
      const auto [end, error] = std::from_chars(rest, line.data() + line.size(), length);
      if (error != std::errc() || length < 0)
        throw BadInput(fmt::format("{}, line {}: wanted numbers of tokens, 0 … {}", path, number,
                                   most_tokens));
      lengths.push_back(length);
      rest = end;
    }
  }
  if (file.bad() || lengths.empty())
    throw BadInput(fmt::format("--lengths-file: no lengths in '{}'", path));
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
  demand<std::int64_t>("--batch", batch, 0, most_requests);
  demand<std::int64_t>("--tokens", tokens, 0, most_tokens);
  demand<std::int64_t>("--query-tokens", query_tokens, 1, most_requests);
  demand<std::int64_t>("--page-size", page_size, 1, most_tokens);
  for (const std::int32_t length : lengths)
    demand("--lengths", length, 0, most_tokens);
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
  app.add_option("--format", format, "Of the cache: bf16, fp16, v32 or v4")
      ->check(CLI::IsMember({"bf16", "fp16", "v32", "v4"}))
      ->capture_default_str();
}

void add_backend_options(CLI::App& app, std::string& backend, int& threads) {
  app.add_option("--backend", backend, "Backend, and so the device: cpu or cuda")
      ->check(CLI::IsMember({"cpu", "cuda"}))
      ->capture_default_str();
  app.add_option("--threads", threads, "Of the CPU backend; 0: all that the process may use")
      ->check(CLI::Range(0, 4096))
      ->capture_default_str();
}

void add_dense_options(CLI::App& app, DenseOptions& o) {
  auto* batch = app.add_option("--batch", o.batch, "Requests")->capture_default_str();
  auto* tokens = app.add_option("--tokens", o.tokens, "Tokens in each request's cache");
  tokens->capture_default_str();
  auto* varlen =
      app.add_flag("--varlen", o.varlen, "Draw each length from normal(tokens, tokens / 2)");
  auto* lengths = app.add_option("--lengths", o.lengths, "Tokens of each request: 100,7,2048");
  lengths->delimiter(',')->excludes(tokens)->excludes(batch)->excludes(varlen);
  app.add_option("--lengths-file", o.lengths_file, "The same from a file of numbers")
      ->excludes(tokens)
      ->excludes(batch)
      ->excludes(varlen)
      ->excludes(lengths);
  app.add_option("--query-tokens", o.query_tokens, "s_q, query tokens of a request")
      ->capture_default_str();
  app.add_option("--heads", o.query_heads, "h_q, query heads")->capture_default_str();
  app.add_option("--kv-heads", o.kv_heads, "h_kv, KV heads")->capture_default_str();
  app.add_option("--d-qk", o.qk_dim, "576 or 512")->capture_default_str();
  app.add_option("--page-size", o.page_size, "Tokens in a page")->capture_default_str();
  add_format_option(app, o.format);
  add_backend_options(app, o.backend, o.threads);
  app.add_flag("--causal", o.causal, "Query token t sees tokens up to s_k − s_q + t");
  app.add_flag("--batch-invariant", o.batch_invariant,
               "Results do not depend on the other requests of the batch");
  app.add_option("--max-workers", o.max_workers, "Workers that may be used; 0 is all")
      ->capture_default_str();
  app.add_option("--seed", o.seed, "Seed of all random numbers; a fresh one is printed");
}

}  // namespace flashmla::tools
