// The promises of the CUDA backend in sparse decoding beyond those of every backend: graphs,
// streams, and the calls that it refuses.
#include <cuda_runtime_api.h>

#include <algorithm>
#include <array>
#include <span>
#include <string>
#include <vector>

#include "flashmla/error.h"
#include "support/device/graph.h"
#include "support/random.h"
#include "tests/backends/cuda/gpu_case.h"
#include "tests/backends/sparse_call.h"

namespace flashmla::backends::cuda {
namespace {

using support::cuda_call;
using support::SparseCase;

class CudaSparse : public GpuTest {};

// Tiles of every size, lists that are cut and lists that are not.
std::vector<SparseCase> cases_of(KvFormat format) {
  std::vector<SparseCase> cases;
  for (const std::int64_t heads : {5, 20, 64, 128})
    for (const bool many : {false, true}) {
      SparseCase c = sparse_case(format, heads);
      c.batch = many ? 200 : 4;
      c.topk = many ? 100 : 1'500;
      c.topk_length = true;
      if (!many) {  // the extra cache
        c.extra_topk = 130;
        c.extra_page_size = 16;
        c.extra_pages = 20;
      }
      c.sink = true;
      cases.push_back(c);
    }
  return cases;
}

// Draws shorter lists of the main cache. What a list has lost by earlier calls comes back from its
// other end, so that lists differ in more than their lengths.
void shorten_lists(SparseCall& c, support::Random& random) {
  auto& part = c.tensors.main;
  const std::span lengths = part.lengths.buffer.image_as<std::int32_t>();
  std::int32_t* const indices = part.indices.buffer.image_as<std::int32_t>().data();
  for (std::int64_t r = 0; r < std::ssize(lengths); ++r) {
    const auto counted =
        std::clamp<std::int64_t>(lengths[static_cast<std::size_t>(r)], 0, part.topk);
    for (std::int64_t t = 0; t < part.indices.view.shape[1]; ++t) {
      std::int32_t* const list = indices + support::offset_of(part.indices.view, {r, t, 0});
      std::reverse(list, list + counted);
    }
    lengths[static_cast<std::size_t>(r)] = static_cast<std::int32_t>(random.between(0, counted));
  }
  part.indices.buffer.upload();
  part.lengths.buffer.upload();
}

// A graph that holds a schedule and two runs follows lists and lengths that change between replays.
TEST_F(CudaSparse, GraphsEqualEagerCalls) {
  for (const KvFormat format : sparse_formats)
    for (const SparseCase& sparse : cases_of(format)) {
      SparseCall c(sparse, *memory_);
      SCOPED_TRACE(describe(sparse));
      const Stream stream;
      const auto schedule_and_run = [&](cudaStream_t s) {
        c.schedule(s);
        c.run(s);
        c.run(s);
      };
      const support::Graph graph(schedule_and_run, stream.get());
      const support::GraphReplay replay(graph);
      support::Random random(sparse.seed);
      for (int i = 0; i < 10; ++i) {
        shorten_lists(c, random);
        c.poison_outputs();
        replay.launch(stream.get());
        const std::vector<std::byte> replayed = c.results();
        c.poison_outputs();
        c.schedule(stream.get());
        c.run(stream.get());
        ASSERT_EQ(replayed, c.results()) << "replay " << i;
      }
    }
}

// Streams that share a plan, each with a run workspace and results of its own.
TEST_F(CudaSparse, StreamsShareAPlan) {
  for (const KvFormat format : sparse_formats) {
    SparseCall c(cases_of(format)[6], *memory_);
    c.schedule();
    c.run();
    const std::vector<std::byte> expected = c.results();
    const std::array<Stream, 4> streams;
    std::vector<support::GuardedBuffer> workspaces;
    std::vector<support::GuardedTensor> outs;
    std::vector<support::GuardedTensor> lses;
    for (std::size_t i = 0; i < streams.size(); ++i) {
      workspaces.emplace_back(*memory_, c.plan.run_workspace_bytes());
      outs.push_back(support::make_tensor(c.tensors.out.view, *memory_));
      lses.push_back(support::make_tensor(c.tensors.lse.view, *memory_));
    }
    for (std::size_t i = 0; i < streams.size(); ++i)
      flashmla::run(c.plan, c.tensors.inputs(), {outs[i].view, lses[i].view, {}},
                    {workspaces[i].data(), workspaces[i].bytes()}, streams[i].get());
    cuda_call(cudaDeviceSynchronize(), "cudaDeviceSynchronize");
    for (std::size_t i = 0; i < streams.size(); ++i) {
      std::vector<std::byte> results = outs[i].buffer.download();
      const std::vector<std::byte> lse = lses[i].buffer.download();
      results.insert(results.end(), lse.begin(), lse.end());
      EXPECT_EQ(results, expected) << "stream " << i;
    }
  }
}

// The argument that a run with these inputs is refused for.
std::string refused(SparseCall& c, const Inputs& inputs) {
  try {
    c.run_with(inputs);
  } catch (const Error& error) {
    return std::string(error.argument());
  }
  return "";
}

// FP8 caches that loads of 16 bytes cannot read: the base or the page stride of the cache and of
// the extra cache. Nothing is written, and the plan serves a sound call afterwards.
TEST_F(CudaSparse, RefusesCachesThatAreNotAligned) {
  for (const KvFormat format : {KvFormat::v32, KvFormat::v4}) {
    SparseCase sparse = cases_of(format)[0];
    sparse.cache_padding = 64;
    SparseCall c(sparse, *memory_);
    SCOPED_TRACE(describe(sparse));
    c.schedule();
    const Inputs right = c.tensors.inputs();
    struct Tensor {
      const char* name;
      TensorView Inputs::* view;
    };
    for (const auto& [name, view] : {Tensor{"kv_cache", &Inputs::kv_cache},
                                     Tensor{"extra_kv_cache", &Inputs::extra_kv_cache}}) {
      Inputs wrong = right;
      TensorView& tensor = wrong.*view;
      tensor.data = static_cast<std::byte*>(tensor.data) + 8;
      EXPECT_EQ(refused(c, wrong), name) << "base";
      wrong = right;
      tensor.strides[0] -= 8;
      EXPECT_EQ(refused(c, wrong), name) << "stride";
    }
    memory_->wait();
    EXPECT_TRUE(c.tensors.out.buffer.unchanged());
    EXPECT_TRUE(c.tensors.lse.buffer.unchanged());
    EXPECT_EQ(refused(c, right), "");
  }
}

}  // namespace
}  // namespace flashmla::backends::cuda
