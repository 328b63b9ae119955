#include "tools/bench/call.h"

#include <algorithm>
#include <span>
#include <vector>

#include "flashmla/kv_cache.h"
#include "support/parallel.h"
#include "support/random.h"

namespace flashmla::tools {

namespace {

// Rows of unit-scale random numbers.
std::shared_ptr<std::byte> random_rows(support::Memory& memory, DType type, std::int64_t rows,
                                       std::int64_t columns, std::uint64_t key) {
  constexpr std::int64_t keys_of_a_task = 4096;
  std::vector<std::uint64_t> keys(static_cast<std::size_t>(rows));
  support::parallel_for(rows / keys_of_a_task + 1, [&](std::int64_t task) {
    const std::int64_t end = std::min(rows, (task + 1) * keys_of_a_task);
    for (std::int64_t i = task * keys_of_a_task; i < end; ++i)
      keys[i] = support::key_of(key, i);
  });
  const auto bytes = std::as_bytes(std::span(keys));
  const auto device_keys = memory.allocate(bytes.size() + 1);
  memory.upload(device_keys.get(), bytes);
  auto data = memory.allocate(static_cast<std::size_t>(rows * columns) * size_of(type) + 1);
  memory.fill_rows(data.get(), type, columns,
                   reinterpret_cast<const std::uint64_t*>(device_keys.get()), rows);
  memory.wait();
  return data;
}

// A cache of random rows with the pages of `largest`.
std::shared_ptr<std::byte> random_cache(const Workload& largest, std::uint64_t key,
                                        support::Memory& memory) {
  const Problem& p = largest.problem();
  const std::int64_t pages = largest.num_pages();
  auto rows = random_rows(memory, p.query_type, pages * p.page_size * p.kv_heads, p.qk_dim, key);
  if (is_plain(p.kv_format))
    return rows;
  auto cache = memory.allocate(largest.cache_bytes());
  const auto view = [&](std::byte* data, DType type, std::int64_t elements) {
    return TensorView(data, type, {pages, p.page_size, 1, elements}, memory.device());
  };
  quantise(view(rows.get(), p.query_type, p.qk_dim),
           view(cache.get(), cache_dtype(p.kv_format), token_elements(p.kv_format, p.qk_dim)),
           p.kv_format);
  memory.wait();
  return cache;
}

const Workload& with_largest_cache(const Workloads& workloads) {
  return **std::ranges::max_element(workloads, {},
                                    [](const auto& workload) { return workload->cache_bytes(); });
}

std::int64_t max_query_rows(const Workloads& workloads) {
  std::int64_t rows = 0;
  for (const auto& workload : workloads)
    rows = std::max(rows, workload->query_rows());
  return rows;
}

}  // namespace

double bench_bytes(const Workloads& workloads) {
  const Problem& p = workloads.front()->problem();
  const auto row =
      static_cast<double>(size_of(p.query_type)) * static_cast<double>(p.qk_dim + p.v_dim) +
      2 * sizeof(float);
  return static_cast<double>(with_largest_cache(workloads).cache_bytes()) +
         static_cast<double>(max_query_rows(workloads)) * row;
}

BenchTensors::BenchTensors(const Workloads& workloads, std::uint64_t seed, support::Memory& memory)
    : device_(memory.device()) {
  const Problem& p = workloads.front()->problem();
  const std::int64_t rows = max_query_rows(workloads);
  const auto query_rows = static_cast<std::size_t>(rows);
  cache_ = random_cache(with_largest_cache(workloads), support::key_of(seed, 1), memory);
  queries_ = random_rows(memory, p.query_type, rows, p.qk_dim, support::key_of(seed, 2));
  out_ = memory.allocate(query_rows * static_cast<std::size_t>(p.v_dim) * size_of(p.query_type));
  lse_ = memory.allocate(query_rows * sizeof(float));
  max_logits_ = memory.allocate(query_rows * sizeof(float));
}

CallMemory BenchTensors::view() const {
  return {.device = device_,
          .cache = cache_.get(),
          .queries = queries_.get(),
          .places = nullptr,
          .out = out_.get(),
          .lse = lse_.get(),
          .max_logits = max_logits_.get()};
}

Call::Call(const Workload& workload, const BenchTensors& tensors, support::Memory& memory)
    : workload_(workload), scheduled_(workload.problem(), workload.lengths(), memory) {
  const std::vector<std::int32_t> places = workload.places();
  const auto bytes = std::as_bytes(std::span(places));
  places_ = memory.allocate(bytes.size() + 1);
  memory.upload(places_.get(), bytes);
  CallMemory view = tensors.view();
  view.places = places_.get();
  inputs_ = workload.inputs(view);
  outputs_ = workload.outputs(view);
  memory.wait();
}

void Call::run(void* stream) const {
  flashmla::run(scheduled_.plan(), inputs_, outputs_, scheduled_.run_workspace(), stream);
}

void Call::run_with_cache(std::byte* cache) const {
  Inputs inputs = inputs_;
  inputs.kv_cache.data = cache;
  flashmla::run(scheduled_.plan(), inputs, outputs_, scheduled_.run_workspace());
}

}  // namespace flashmla::tools
