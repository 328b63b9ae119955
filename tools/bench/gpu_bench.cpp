#include "tools/bench/gpu_bench.h"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>
#include <span>
#include <stdexcept>

#include "flashmla/decode.h"
#include "support/case.h"
#include "support/device/host_time.h"
#include "support/device/memory_of.h"
#include "support/parallel.h"
#include "support/random.h"

namespace flashmla::tools {

namespace {

std::int64_t pages_of(const support::DenseCase& c) {
  std::int64_t pages = 0;
  for (const std::int32_t length : c.lengths)
    pages += (length + c.page_size - 1) / c.page_size;
  return std::max<std::int64_t>(1, pages);
}

std::shared_ptr<std::byte> upload(support::Memory& memory, std::span<const std::int32_t> numbers) {
  auto data = memory.allocate(std::max<std::size_t>(1, numbers.size_bytes()));
  memory.upload(data.get(), std::as_bytes(numbers));
  return data;
}

// Rows of unit-scale random numbers.
std::shared_ptr<std::byte> random_rows(support::Memory& memory, DType type, std::int64_t rows,
                                       std::int64_t columns, std::uint64_t key) {
  std::vector<std::uint64_t> keys(static_cast<std::size_t>(rows));
  support::parallel_for(rows / 4096 + 1, [&](std::int64_t task) {
    for (std::int64_t i = task * 4096; i < std::min(rows, (task + 1) * 4096); ++i)
      keys[static_cast<std::size_t>(i)] = support::key_of(key, i);
  });
  const auto bytes = std::as_bytes(std::span(keys));
  const auto device_keys = memory.allocate(bytes.size() + 1);
  memory.upload(device_keys.get(), bytes);
  auto data = memory.allocate(static_cast<std::size_t>(rows * columns) * size_of(type));
  memory.fill_rows(data.get(), type, columns,
                   reinterpret_cast<const std::uint64_t*>(device_keys.get()), rows);
  memory.wait();
  return data;
}

// Every page of every request somewhere else in the cache.
std::vector<std::int32_t> block_table(const support::DenseCase& c, std::uint64_t key) {
  std::vector<std::int32_t> pages(static_cast<std::size_t>(pages_of(c)));
  std::iota(pages.begin(), pages.end(), 0);
  support::Random random(key);
  for (std::int64_t last = std::ssize(pages) - 1; last > 0; --last)
    std::swap(pages[static_cast<std::size_t>(last)],
              pages[static_cast<std::size_t>(random.between(0, last))]);
  std::vector<std::int32_t> table(static_cast<std::size_t>(c.batch() * c.max_pages()), -1);
  auto next = pages.begin();
  for (std::int64_t r = 0; r < c.batch(); ++r) {
    const std::int64_t count =
        (c.lengths[static_cast<std::size_t>(r)] + c.page_size - 1) / c.page_size;
    std::copy_n(next, count, table.begin() + r * c.max_pages());
    next += count;
  }
  return table;
}

}  // namespace

// What one shape adds to the shared tensors.
struct GpuBench::Call {
  support::DenseCase dense_case;
  Plan plan;
  TensorView lengths;
  Inputs inputs;
  Outputs outputs;
  std::vector<std::shared_ptr<std::byte>> memory;  // of all that the views name

  Call(const DenseOptions& options, GpuBench& bench)
      : dense_case(DenseOptions(options).to_case()), plan(make_plan(options.problem(dense_case))) {
    const support::DenseCase& c = dense_case;
    const Device device = bench.memory_->device();
    const auto keep = [&](std::shared_ptr<std::byte> data) {
      memory.push_back(std::move(data));
      return memory.back().get();
    };
    lengths = {keep(upload(*bench.memory_, c.lengths)), DType::i32, {c.batch()}, device};
    inputs.q = {
        bench.queries_.get(), c.type, {c.batch(), c.query_tokens, c.query_heads, c.qk_dim}, device};
    inputs.kv_cache = {
        bench.cache_.get(), c.type, {pages_of(c), c.page_size, c.kv_heads, c.qk_dim}, device};
    inputs.block_table = {keep(upload(*bench.memory_, block_table(c, c.seed))),
                          DType::i32,
                          {c.batch(), c.max_pages()},
                          device};
    outputs.out = {
        bench.out_.get(), c.type, {c.batch(), c.query_tokens, c.query_heads, c.v_dim}, device};
    outputs.lse = {
        bench.lse_.get(), DType::fp32, {c.batch(), c.query_heads, c.query_tokens}, device};
    plan_workspace_ = {keep(bench.memory_->allocate(plan.plan_workspace_bytes())),
                       plan.plan_workspace_bytes()};
    run_workspace_ = {keep(bench.memory_->allocate(plan.run_workspace_bytes() + 1)),
                      plan.run_workspace_bytes()};
  }

  void schedule(void* stream) { plan.schedule(lengths, plan_workspace_, stream); }
  void run(void* stream) { flashmla::run(plan, inputs, outputs, run_workspace_, stream); }

 private:
  Workspace plan_workspace_;
  Workspace run_workspace_;
};

GpuBench::GpuBench(const std::vector<Shape>& shapes, const BenchOptions& options)
    : options_(options), memory_(support::memory_of("cuda")), timer_(*memory_) {
  std::int64_t slots = 1;
  std::int64_t rows = 1;
  for (const Shape& shape : shapes) {
    const support::DenseCase c = options.dense(shape).to_case();
    slots = std::max(slots, pages_of(c) * c.page_size * c.kv_heads);
    rows = std::max(rows, c.rows());
  }
  const support::DenseCase any = options.dense(shapes.front()).to_case();
  cache_ = random_rows(*memory_, any.type, slots, any.qk_dim, support::key_of(options.seed, 1));
  queries_ = random_rows(*memory_, any.type, rows, any.qk_dim, support::key_of(options.seed, 2));
  out_ = memory_->allocate(static_cast<std::size_t>(rows * any.v_dim) * size_of(any.type));
  lse_ = memory_->allocate(static_cast<std::size_t>(rows) * sizeof(float));
}

GraphFigures GpuBench::time(Timing& timing) {
  Call call(options_.dense(timing.shape), *this);
  call.schedule(nullptr);
  memory_->wait();
  const support::GraphTimes times =
      timer_.time([&](void* stream) { call.run(stream); }, options_.cold_replays(),
                  options_.seconds_of_calls());
  if (const std::int32_t status = call.plan.status(); status != 0)
    throw std::runtime_error(
        fmt::format("{}: the status names request {}", text_of(timing.shape), status - 1));
  timing.seconds = spread_of(times.cold);
  GraphFigures graph;
  graph.hot = times.hot;
  graph.hot_replays = times.hot_replays;
  if (options_.with_schedule) {
    const support::GraphDifference added =
        timer_.difference([&](void* stream) { call.run(stream); },
                          [&](void* stream) {
                            call.schedule(stream);
                            call.run(stream);
                          },
                          4 * options_.seconds_of_calls());
    graph.with_schedule = {timing.seconds.median + added.cold, times.hot + added.hot};
  }
  if (options_.host_time) {
    const support::HostTimes host = support::host_times([&](void* stream) { call.run(stream); });
    graph.host_seconds = host.call;
    graph.bare_host_seconds = host.launches;
  }
  return graph;
}

}  // namespace flashmla::tools
