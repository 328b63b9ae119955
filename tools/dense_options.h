// The command-line options that describe a dense decoding problem, shared by `plan` and `run`.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "flashmla/problem.h"
#include "support/case.h"
#include "support/memory.h"

namespace CLI {
class App;
}

namespace flashmla::tools {

inline constexpr std::int64_t max_requests = 131072;  // and query tokens
inline constexpr std::int64_t max_heads = 65536;

struct DenseOptions {
  std::int64_t batch = 1;
  std::int64_t tokens = 1024;
  std::vector<std::int32_t> lengths;
  std::string lengths_file;
  bool varlen = false;
  std::int64_t query_tokens = 1;
  std::int64_t query_heads = 16;
  std::int64_t kv_heads = 1;
  std::int64_t qk_dim = 576;
  std::int64_t page_size = 64;
  std::string format = "bf16";
  std::string backend = "cpu";
  int threads = 0;
  bool causal = false;
  bool batch_invariant = false;
  std::int32_t max_workers = 0;
  std::optional<std::uint64_t> seed;
  bool sink = false;
  std::optional<float> softmax_scale;

  // The case with its lengths read or drawn; fixes the seed. Throws BadInput on a bad file of
  // lengths.
  support::DenseCase to_case();

  // The library's problem for a case that to_case() made; it, not the case, knows FP8 formats.
  // Throws as device_of_backend() does, and sets the threads of the CPU backend.
  Problem problem(const support::DenseCase& dense_case) const;
};

void add_dense_options(CLI::App& app, DenseOptions& options);

// Options of every subcommand that computes.
void add_format_option(CLI::App& app, std::string& format);
void add_backend_options(CLI::App& app, std::string& backend, int& threads);
void add_backend_option(CLI::App& app, std::string& backend);
void add_qk_dim_option(CLI::App& app, std::int64_t& qk_dim);
void add_kv_heads_option(CLI::App& app, std::int64_t& kv_heads);

KvFormat format_named(const std::string& name);

// The device that a backend computes on; BadInput on an unknown name, Error (unsupported) with the
// reason when this machine or build cannot use it.
Device device_of_backend(const std::string& backend);

// The memory of that device. Throws the same errors.
std::unique_ptr<support::Memory> memory_of_backend(const std::string& backend);

// Reads the tokens of each request from a file of integers with a comma or white space between
// them. Throws BadInput naming the line.
std::vector<std::int32_t> read_lengths(const std::string& path);

// Tokens of each of b requests by the recipe of the recorded figures: Python's
// random.Random(seed).normalvariate(tokens, tokens / 2), rounded down, at least `least`.
std::vector<std::int32_t> varlen_lengths(std::int64_t batch, std::int64_t tokens,
                                         std::int64_t least, std::uint64_t seed);

}  // namespace flashmla::tools
