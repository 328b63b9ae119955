// A dense decoding call for tests of the CPU backend. Its tensors are random. Everything that must
// not be read is poisoned. Plain loops in double compute the expected result.
#pragma once

#include <cstddef>
#include <cstdint>
#include <random>
#include <string>
#include <vector>

#include "backends/backend.h"
#include "backends/cpu/kernel/table.h"

namespace flashmla::backends::cpu {

struct CaseOptions {
  std::vector<std::int32_t> lengths;
  std::int64_t query_tokens = 1;
  std::int64_t query_heads = 16;
  std::int64_t kv_heads = 1;
  std::int64_t qk_dim = 576;
  std::int64_t page_size = 64;
  DType type = DType::bf16;
  bool causal = false;
  bool sink = false;
  bool strided = false;
  bool batch_invariant = false;
  std::int32_t max_workers = 0;
  float softmax_scale = 1.0f / 24;
};

std::string describe(const CaseOptions& options);

// Aligned memory, filled with NaN.
class AlignedMemory {
 public:
  explicit AlignedMemory(std::size_t bytes);
  void* data() { return memory_.data() + offset_; }

 private:
  std::vector<std::byte> memory_;
  std::size_t offset_;
};

// out [b, s_q, h_q, d_v] as bit patterns of 16 bits, and lse [b, h_q, s_q].
struct CaseResult {
  std::vector<std::uint16_t> out;
  std::vector<std::uint32_t> lse;  // bit patterns, so that a comparison compares bits
  std::int32_t status;

  friend bool operator==(const CaseResult&, const CaseResult&) = default;
};

class DenseCase {
 public:
  DenseCase(CaseOptions options, unsigned seed);

  const Problem& problem() const { return problem_; }
  Inputs& inputs() { return inputs_; }
  std::vector<std::int32_t>& table() { return table_; }
  std::int64_t table_width() const { return problem_.max_pages; }

  // Schedules with `params` and runs. Outputs and workspaces start as NaN.
  CaseResult run(const KernelTable& kernels, const schedule::SplitParams& params);
  // Schedules and runs through the backend, with the parameters of the backend.
  CaseResult run();

  // Expects every row to be the exact result, rounded to the type of the output, up to the errors
  // of fp32 arithmetic. Rows without tokens must be exact.
  void expect_right(const CaseResult& result) const;

 private:
  void make_query(std::mt19937& random);
  void make_cache(std::mt19937& random);
  void expect_row(const CaseResult& result, std::int64_t request, std::int64_t token,
                  std::int64_t head) const;
  double key(std::int64_t request, std::int64_t token, std::int64_t kv_head,
             std::int64_t dim) const;
  double number(std::uint16_t bits) const;
  std::uint16_t bits_of(float value) const;

  CaseOptions options_;
  Problem problem_;
  Inputs inputs_;
  std::vector<std::uint16_t> query_;
  std::vector<std::uint16_t> cache_;
  std::vector<std::int32_t> table_;
  std::vector<float> sink_;
};

}  // namespace flashmla::backends::cpu
