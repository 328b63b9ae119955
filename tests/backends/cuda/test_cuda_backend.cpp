// The promises of the CUDA backend beyond right results: bits that do not change, graphs, streams,
// lengths on the host or on the device.
#include <cuda_runtime_api.h>

#include <array>

#include "support/device/graph.h"
#include "support/random.h"
#include "tests/backends/cuda/gpu_case.h"

namespace flashmla::backends::cuda {
namespace {

using support::cuda_call;
using support::DenseCase;

class CudaBackend : public GpuTest {};

// Cases that reach both kernels, with cluster sizes 1 and 2, and with requests that are cut.
DenseCase case_of(std::int64_t heads, std::vector<std::int32_t> lengths) {
  DenseCase dense_case;
  dense_case.seed = support::fresh_seed();
  dense_case.query_heads = heads;
  dense_case.lengths = std::move(lengths);
  return dense_case;
}

constexpr std::array<std::int64_t, 4> head_counts{5, 32, 64, 128};

// One case for each of these head counts, and one with clusters of four beside clusters of two.
std::vector<DenseCase> cases_of(const std::vector<std::int32_t>& lengths) {
  std::vector<DenseCase> cases;
  for (const std::int64_t heads : head_counts)
    cases.push_back(case_of(heads, lengths));
  cases.push_back(case_of(128, {}));
  cases.back().query_tokens = 2;
  cases.back().spare_pages = 400;
  while (cases.back().batch() < 40)
    cases.back().lengths.insert(cases.back().lengths.end(), lengths.begin(), lengths.end());
  return cases;
}

TEST_F(CudaBackend, RepeatsAreBitIdentical) {
  for (const DenseCase& dense_case : cases_of({1000, 0, 77, 2049, 64})) {
    GpuCase c(dense_case, *memory_);
    SCOPED_TRACE(describe(c.tensors.dense_case));
    c.schedule(c.tensors.lengths.view);
    c.run();
    const std::vector<std::byte> first = c.results();
    for (int i = 0; i < 1000; ++i) {
      c.poison_outputs();
      c.run();
      ASSERT_EQ(c.results(), first) << "repeat " << i;
    }
  }
}

TEST_F(CudaBackend, HostLengthsGiveTheSameBits) {
  for (const std::int64_t heads : head_counts)
    for (const bool split : {false, true}) {
      std::vector<std::int32_t> lengths(300, 40);
      if (split)
        lengths.assign({3000, 5, 900});
      GpuCase c(case_of(heads, lengths), *memory_);
      SCOPED_TRACE(describe(c.tensors.dense_case));
      c.schedule(c.tensors.lengths.view);
      c.run();
      const std::vector<std::byte> expected = c.results();
      c.poison_outputs();
      c.schedule({lengths.data(), DType::i32, {std::ssize(lengths)}});
      c.run();
      EXPECT_EQ(c.results(), expected);
    }
}

TEST_F(CudaBackend, GraphFollowsLengths) {
  for (const DenseCase& dense_case : cases_of({3000, 500, 1, 2000})) {
    GpuCase c(dense_case, *memory_);
    SCOPED_TRACE(describe(c.tensors.dense_case));
    const Stream stream;
    const auto schedule_and_run = [&](cudaStream_t s) {
      c.schedule(c.tensors.lengths.view, s);
      c.run(s);
    };
    const support::Graph graph(schedule_and_run, stream.get());
    const support::GraphReplay replay(graph);
    support::Random random(c.tensors.dense_case.seed);
    for (int i = 0; i < 20; ++i) {
      for (std::int32_t& length : c.tensors.lengths.buffer.image_as<std::int32_t>())
        length = static_cast<std::int32_t>(random.between(0, length));
      if (i % 4 == 0)
        std::ranges::copy(c.tensors.dense_case.lengths,
                          c.tensors.lengths.buffer.image_as<std::int32_t>().begin());
      c.tensors.lengths.buffer.upload();
      c.poison_outputs();
      replay.launch(stream.get());
      const std::vector<std::byte> replayed = c.results();
      c.poison_outputs();
      c.schedule(c.tensors.lengths.view, stream.get());
      c.run(stream.get());
      ASSERT_EQ(replayed, c.results()) << "replay " << i;
    }
  }
}

TEST_F(CudaBackend, StreamsShareAPlan) {
  GpuCase c(case_of(128, {4000, 300}), *memory_);
  c.schedule(c.tensors.lengths.view);
  c.run();
  const std::vector<std::byte> expected = c.results();
  std::array<cudaStream_t, 4> streams{};
  std::vector<support::GuardedBuffer> workspaces;
  std::vector<support::GuardedTensor> outs;
  std::vector<support::GuardedTensor> lses;
  for (cudaStream_t& stream : streams) {
    cuda_call(cudaStreamCreate(&stream), "cudaStreamCreate");
    workspaces.emplace_back(*memory_, c.plan.run_workspace_bytes());
    for (auto* copies : {&outs, &lses}) {
      copies->push_back(copies == &outs ? c.tensors.out : c.tensors.lse);
      copies->back().buffer = support::GuardedBuffer(*memory_, copies->back().buffer.bytes());
      copies->back().view.data = copies->back().buffer.data();
    }
  }
  for (std::size_t i = 0; i < streams.size(); ++i)
    flashmla::run(c.plan, c.tensors.inputs(), {outs[i].view, lses[i].view, {}},
                  {workspaces[i].data(), workspaces[i].bytes()}, streams[i]);
  cuda_call(cudaDeviceSynchronize(), "cudaDeviceSynchronize");
  for (std::size_t i = 0; i < streams.size(); ++i) {
    std::vector<std::byte> results = outs[i].buffer.download();
    const std::vector<std::byte> lse = lses[i].buffer.download();
    results.insert(results.end(), lse.begin(), lse.end());
    EXPECT_EQ(results, expected) << "stream " << i;
    cudaStreamDestroy(streams[i]);
  }
}

// A request has the same bits alone and in a batch.
TEST_F(CudaBackend, BatchInvariant) {
  for (const std::int64_t heads : head_counts) {
    DenseCase alone = case_of(heads, {2500});
    alone.batch_invariant = true;
    alone.spare_pages = 3;
    DenseCase together = alone;
    together.lengths = {2500, 1, 700, 2300, 0};
    GpuCase one(alone, *memory_);
    GpuCase many(together, *memory_);
    SCOPED_TRACE(describe(alone));
    // Request 0 has the same queries and rows.
    const std::size_t q_bytes = one.tensors.q.buffer.bytes();
    std::ranges::copy(one.tensors.q.buffer.image(), many.tensors.q.buffer.image().begin());
    many.tensors.q.buffer.upload();
    ASSERT_LE(q_bytes, many.tensors.q.buffer.bytes());
    for (std::int64_t j = 0; j < 2500; ++j)
      std::copy_n(one.tensors.cached_row(0, j, 0), 576,
                  const_cast<std::uint16_t*>(many.tensors.cached_row(0, j, 0)));
    many.tensors.kv_cache.buffer.upload();
    for (GpuCase* c : {&one, &many}) {
      c->schedule(c->tensors.lengths.view);
      c->run();
    }
    one.results();
    const std::vector<std::byte> expected = one.tensors.out.buffer.download();
    std::vector<std::byte> found = many.tensors.out.buffer.download();
    found.resize(expected.size());
    EXPECT_EQ(found, expected);
  }
}

}  // namespace
}  // namespace flashmla::backends::cuda
