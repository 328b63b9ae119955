// Dense decoding on the CPU beside the machine's fp32 matrix product (OpenBLAS), on as many
// threads:
//
//   cpu_dense_decode [--require-third] [Google Benchmark's options]
//
// Prints GFLOP/s of both and, at the end, the ratio for b = 4, h_q = 64, 4,096 tokens. With
// --require-third the exit status is 1 where that ratio is below a third and 2 where it could not
// be measured, because something else kept the processors busy.
#include <benchmark/benchmark.h>
#include <cblas.h>
#include <time.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <memory>
#include <new>
#include <numeric>
#include <optional>
#include <random>
#include <vector>

#include "flashmla/flashmla.h"

extern "C" void openblas_set_num_threads(int threads);

namespace {

constexpr std::int64_t matrix_size = 2048;
constexpr std::int64_t qk_dim = 576;
constexpr std::int64_t v_dim = 512;
constexpr std::int64_t page_size = 64;
constexpr std::int64_t bar_heads = 64;

struct Release {
  void operator()(std::byte* memory) const {
    ::operator delete[](memory, std::align_val_t{flashmla::workspace_alignment});
  }
};

// Memory as the library wants its workspaces.
class Buffer {
 public:
  explicit Buffer(std::size_t bytes)
      : bytes_(bytes),
        memory_(static_cast<std::byte*>(::operator new[](
            std::max<std::size_t>(bytes, 1), std::align_val_t{flashmla::workspace_alignment}))) {}

  flashmla::Workspace workspace() const { return {memory_.get(), bytes_}; }

 private:
  std::size_t bytes_;
  std::unique_ptr<std::byte[], Release> memory_;
};

// bf16 numbers of either sign with magnitudes from 2^-7 to 4.
std::vector<std::uint16_t> random_bf16(std::int64_t count) {
  std::mt19937 random(1);
  std::vector<std::uint16_t> numbers(static_cast<std::size_t>(count));
  for (auto& number : numbers) {
    const std::uint32_t bits = static_cast<std::uint32_t>(random());
    const std::uint32_t exponent = 120 + bits % 9;
    number = static_cast<std::uint16_t>((bits >> 16 & 0x807fu) | (exponent << 7));
  }
  return numbers;
}

void report_rate(benchmark::State& state, double flop) {
  state.counters["GFLOP/s"] = benchmark::Counter(
      flop * 1e-9 * static_cast<double>(state.iterations()), benchmark::Counter::kIsRate);
}

// One matrix product of OpenBLAS, fp32.
class Product {
 public:
  Product() : a_(elements, 0.5f), b_(elements, 0.25f), c_(elements) {
    openblas_set_num_threads(flashmla::cpu_threads());
  }

  static constexpr double flop = 2.0 * matrix_size * matrix_size * matrix_size;

  void run() {
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, matrix_size, matrix_size, matrix_size,
                1.0f, a_.data(), matrix_size, b_.data(), matrix_size, 0.0f, c_.data(), matrix_size);
    benchmark::DoNotOptimize(c_.data());
  }

 private:
  static constexpr std::size_t elements = matrix_size * matrix_size;
  std::vector<float> a_;
  std::vector<float> b_;
  std::vector<float> c_;
};

flashmla::Problem decode_problem(std::int64_t batch, std::int64_t heads, std::int64_t tokens) {
  flashmla::Problem problem;
  problem.batch = batch;
  problem.query_heads = heads;
  problem.page_size = page_size;
  problem.max_pages = tokens / page_size;
  return problem;
}

// One decoding call, s_q = 1, all requests of the same length, pages in random order.
class Decode {
 public:
  Decode(std::int64_t batch, std::int64_t heads, std::int64_t tokens)
      : flop(2.0 * static_cast<double>(batch * heads * tokens * (qk_dim + v_dim))),
        q_(random_bf16(batch * heads * qk_dim)),
        cache_(random_bf16(batch * tokens * qk_dim)),
        table_(static_cast<std::size_t>(batch * tokens / page_size)),
        lengths_(static_cast<std::size_t>(batch), static_cast<std::int32_t>(tokens)),
        out_(static_cast<std::size_t>(batch * heads * v_dim)),
        lse_(static_cast<std::size_t>(batch * heads)),
        plan_(flashmla::make_plan(decode_problem(batch, heads, tokens))),
        plan_memory_(plan_.plan_workspace_bytes()),
        run_memory_(plan_.run_workspace_bytes()) {
    using flashmla::DType;
    std::iota(table_.begin(), table_.end(), 0);
    std::shuffle(table_.begin(), table_.end(), std::mt19937(2));
    const std::int64_t pages = tokens / page_size;
    plan_.schedule({lengths_.data(), DType::i32, {batch}}, plan_memory_.workspace());
    inputs_.q = {q_.data(), DType::bf16, {batch, 1, heads, qk_dim}};
    inputs_.kv_cache = {cache_.data(), DType::bf16, {batch * pages, page_size, 1, qk_dim}};
    inputs_.block_table = {table_.data(), DType::i32, {batch, pages}};
    outputs_.out = {out_.data(), DType::bf16, {batch, 1, heads, v_dim}};
    outputs_.lse = {lse_.data(), DType::fp32, {batch, heads, 1}};
  }

  const double flop;

  void run() {
    flashmla::run(plan_, inputs_, outputs_, run_memory_.workspace());
    benchmark::DoNotOptimize(out_.data());
  }

 private:
  std::vector<std::uint16_t> q_;
  std::vector<std::uint16_t> cache_;
  std::vector<std::int32_t> table_;
  std::vector<std::int32_t> lengths_;
  std::vector<std::uint16_t> out_;
  std::vector<float> lse_;
  flashmla::Plan plan_;
  Buffer plan_memory_;
  Buffer run_memory_;
  flashmla::Inputs inputs_;
  flashmla::Outputs outputs_;
};

void sgemm(benchmark::State& state) {
  Product product;
  for (auto _ : state)
    product.run();
  report_rate(state, Product::flop);
}

void dense_decode(benchmark::State& state) {
  Decode decode(state.range(0), state.range(1), state.range(2));
  for (auto _ : state)
    decode.run();
  report_rate(state, decode.flop);
}

BENCHMARK(sgemm)->UseRealTime()->MeasureProcessCPUTime()->Unit(benchmark::kMillisecond);
BENCHMARK(dense_decode)
    ->ArgNames({"b", "h_q", "tokens"})
    ->ArgsProduct({{4}, {16, bar_heads, 128}, {4096}})
    ->Args({32, 16, 1024})
    ->UseRealTime()
    ->MeasureProcessCPUTime()
    ->Unit(benchmark::kMillisecond);

double seconds_of(clockid_t clock) {
  timespec now{};
  clock_gettime(clock, &now);
  return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

struct Measurement {
  double gflop_per_second;
  double processors;  // that the process really had: CPU time over elapsed time
};

template <class Work>
Measurement measure(Work& work, double flop) {
  constexpr double min_seconds = 0.15;
  const double cpu_start = seconds_of(CLOCK_PROCESS_CPUTIME_ID);
  const double start = seconds_of(CLOCK_MONOTONIC);
  double elapsed = 0;
  int calls = 0;
  for (; elapsed < min_seconds; ++calls, elapsed = seconds_of(CLOCK_MONOTONIC) - start)
    work.run();
  return {calls * flop * 1e-9 / elapsed,
          (seconds_of(CLOCK_PROCESS_CPUTIME_ID) - cpu_start) / elapsed};
}

double median(std::vector<double> values) {
  std::nth_element(values.begin(), values.begin() + values.size() / 2, values.end());
  return values[values.size() / 2];
}

// Prints the ratio of the two rates, measured in turns. A turn counts only where both sides had all
// their processors: on a machine that does something else besides, one of them may lose a processor
// and the ratio means nothing. Returns nothing where too few turns count.
std::optional<double> compare_rates() {
  constexpr int turns = 24;
  constexpr std::size_t least_turns = 5;
  constexpr double share_of_processors = 0.9;
  Product product;
  Decode decode(4, bar_heads, 4096);
  product.run();
  decode.run();
  const double wanted = share_of_processors * flashmla::cpu_threads();
  std::vector<double> product_rates;
  std::vector<double> decode_rates;
  std::vector<double> ratios;
  for (int turn = 0; turn < turns && ratios.size() < 2 * least_turns; ++turn) {
    const Measurement peer = measure(product, Product::flop);
    const Measurement ours = measure(decode, decode.flop);
    if (peer.processors < wanted || ours.processors < wanted)
      continue;
    product_rates.push_back(peer.gflop_per_second);
    decode_rates.push_back(ours.gflop_per_second);
    ratios.push_back(ours.gflop_per_second / peer.gflop_per_second);
  }
  if (ratios.size() < least_turns) {
    std::printf(
        "no ratio: in %zu of %d turns both sides had their %d processors, %zu are needed; "
        "the machine is busy with something else\n",
        ratios.size(), turns, flashmla::cpu_threads(), least_turns);
    return std::nullopt;
  }
  std::printf(
      "%d threads, %zu turns: dense decoding %.1f GFLOP/s, OpenBLAS sgemm %.1f GFLOP/s, "
      "ratio %.3f (medians)\n",
      flashmla::cpu_threads(), ratios.size(), median(decode_rates), median(product_rates),
      median(ratios));
  return median(ratios);
}

}  // namespace

int main(int argc, char** argv) {
  bool require_third = false;
  const auto own = [&](const char* argument) {
    const bool found = std::strcmp(argument, "--require-third") == 0;
    require_third = require_third || found;
    return found;
  };
  argc = static_cast<int>(std::remove_if(argv + 1, argv + argc, own) - argv);
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv))
    return 2;
  benchmark::RunSpecifiedBenchmarks();
  const std::optional<double> ratio = compare_rates();
  if (!require_third)
    return 0;
  if (!ratio)
    return 2;
  return *ratio < 1.0 / 3.0 ? 1 : 0;
}
