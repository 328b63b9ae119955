#include "tools/bench/call.h"

#include <algorithm>
#include <span>
#include <vector>

#include "support/random.h"

namespace flashmla::tools {

namespace {

// A cache of random rows.
std::shared_ptr<std::byte> random_cache(const Problem& p, const CachePages& pages,
                                        support::ScaleRule rule, std::uint64_t key,
                                        support::Memory& memory) {
  if (is_plain(p.kv_format))
    return random_rows(memory, p.query_type, pages.count * pages.page_size * p.kv_heads, p.qk_dim,
                       key);
  return random_fp8_cache(memory, p.kv_format, pages, rule, key);
}

// The largest extra cache for each page size: pages of different sizes lie differently in memory.
std::map<std::int64_t, CachePages> extra_caches_of(const Workloads& workloads) {
  std::map<std::int64_t, CachePages> caches;
  for (const auto& workload : workloads)
    if (const CachePages& pages = workload->extra_cache(); pages.count > 0) {
      CachePages& largest = caches[pages.page_size];
      if (largest.count < pages.count)
        largest = pages;
    }
  return caches;
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
  double caches = static_cast<double>(with_largest_cache(workloads).cache_bytes());
  for (const auto& [page_size, pages] : extra_caches_of(workloads))
    caches += static_cast<double>(pages.bytes());
  return caches + static_cast<double>(max_query_rows(workloads)) * row;
}

BenchTensors::BenchTensors(const Workloads& workloads, std::uint64_t seed, support::Memory& memory,
                           support::ScaleRule rule)
    : device_(memory.device()) {
  const Problem& p = workloads.front()->problem();
  const std::int64_t rows = max_query_rows(workloads);
  const auto query_rows = static_cast<std::size_t>(rows);
  cache_ = random_cache(p, with_largest_cache(workloads).cache(), rule, support::key_of(seed, 1),
                        memory);
  for (const auto& [page_size, pages] : extra_caches_of(workloads))
    extra_caches_[page_size] =
        random_cache(p, pages, rule, support::key_of(seed, 3, page_size), memory);
  queries_ = random_rows(memory, p.query_type, rows, p.qk_dim, support::key_of(seed, 2));
  out_ = memory.allocate(query_rows * static_cast<std::size_t>(p.v_dim) * size_of(p.query_type));
  lse_ = memory.allocate(query_rows * sizeof(float));
  max_logits_ = memory.allocate(query_rows * sizeof(float));
}

CallMemory BenchTensors::view(const Workload& workload) const {
  const auto extra = extra_caches_.find(workload.extra_cache().page_size);
  return {.device = device_,
          .cache = cache_.get(),
          .extra_cache = extra == extra_caches_.end() ? nullptr : extra->second.get(),
          .queries = queries_.get(),
          .places = nullptr,
          .extra_places = nullptr,
          .out = out_.get(),
          .lse = lse_.get(),
          .max_logits = max_logits_.get()};
}

Call::Call(const Workload& workload, const BenchTensors& tensors, support::Memory& memory)
    : workload_(workload), scheduled_(workload.problem(), workload.lengths(), memory) {
  const auto upload = [&memory](const std::vector<std::int32_t>& numbers) {
    const auto bytes = std::as_bytes(std::span(numbers));
    auto data = memory.allocate(bytes.size() + 1);
    memory.upload(data.get(), bytes);
    return data;
  };
  places_ = upload(workload.places());
  extra_places_ = upload(workload.extra_places());
  CallMemory view = tensors.view(workload);
  view.places = places_.get();
  view.extra_places = extra_places_.get();
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
