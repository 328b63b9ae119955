// The promises of the CUDA backend in sparse decoding beyond those of every backend: graphs,
// streams, and the calls that it refuses.
#include <cuda_runtime_api.h>

#include <algorithm>
#include <array>
#include <string>

#include "flashmla/error.h"
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
      c.extra_topk = many ? 0 : 130;
      c.extra_page_size = 16;
      c.extra_pages = 20;
      c.sink = true;
      cases.push_back(c);
    }
  return cases;
}

// A graph that holds a schedule and a run follows lists and lengths that change between replays.
TEST_F(CudaSparse, GraphsEqualEagerCalls) {
  for (const KvFormat format : sparse_formats)
    for (const SparseCase& sparse : cases_of(format)) {
      SparseCall c(sparse, *memory_);
      SCOPED_TRACE(describe(sparse));
      cudaStream_t stream = nullptr;
      cuda_call(cudaStreamCreate(&stream), "cudaStreamCreate");
      cudaGraph_t graph = nullptr;
      cudaGraphExec_t replay = nullptr;
      cuda_call(cudaStreamBeginCapture(stream, cudaStreamCaptureModeGlobal), "begin capture");
      c.schedule(stream);
      c.run(stream);
      c.run(stream);
      cuda_call(cudaStreamEndCapture(stream, &graph), "end capture");
      cuda_call(cudaGraphInstantiate(&replay, graph, 0), "cudaGraphInstantiate");
      support::Random random(sparse.seed);
      for (int i = 0; i < 10; ++i) {
        for (std::int32_t& length : c.tensors.main.lengths.buffer.image_as<std::int32_t>())
          length = static_cast<std::int32_t>(
              random.between(0, std::clamp<std::int64_t>(length, 0, sparse.topk)));
        c.tensors.main.lengths.buffer.upload();
        c.poison_outputs();
        cuda_call(cudaGraphLaunch(replay, stream), "cudaGraphLaunch");
        const std::vector<std::byte> replayed = c.results();
        c.poison_outputs();
        c.schedule(stream);
        c.run(stream);
        ASSERT_EQ(replayed, c.results()) << "replay " << i;
      }
      cudaGraphExecDestroy(replay);
      cudaGraphDestroy(graph);
      cudaStreamDestroy(stream);
    }
}

// Streams that share a plan, each with a run workspace and results of its own.
TEST_F(CudaSparse, StreamsShareAPlan) {
  for (const KvFormat format : sparse_formats) {
    SparseCall c(cases_of(format)[6], *memory_);
    c.schedule();
    c.run();
    const std::vector<std::byte> expected = c.results();
    std::array<cudaStream_t, 4> streams{};
    std::vector<support::GuardedBuffer> workspaces;
    std::vector<support::GuardedTensor> outs;
    std::vector<support::GuardedTensor> lses;
    for (cudaStream_t& stream : streams) {
      cuda_call(cudaStreamCreate(&stream), "cudaStreamCreate");
      workspaces.emplace_back(*memory_, c.plan.run_workspace_bytes());
      outs.push_back(support::make_tensor(c.tensors.out.view, *memory_));
      lses.push_back(support::make_tensor(c.tensors.lse.view, *memory_));
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

// Memory that copies of 16 bytes cannot read: the base or the strides of q, of the cache and of the
// extra cache. Nothing is written, and the plan serves a sound call afterwards.
TEST_F(CudaSparse, RefusesMemoryThatIsNotAligned) {
  for (const KvFormat format : sparse_formats) {
    SparseCase sparse = cases_of(format)[0];
    sparse.q_padding = 8;
    sparse.cache_padding = 64;
    SparseCall c(sparse, *memory_);
    SCOPED_TRACE(describe(sparse));
    c.schedule();
    const Inputs right = c.tensors.inputs();
    struct Tensor {
      const char* name;
      TensorView Inputs::* view;
    };
    for (const auto& [name, view] : {Tensor{"q", &Inputs::q},
                                     {"kv_cache", &Inputs::kv_cache},
                                     {"extra_kv_cache", &Inputs::extra_kv_cache}}) {
      Inputs wrong = right;
      TensorView& tensor = wrong.*view;
      const auto element = static_cast<std::int64_t>(size_of(tensor.dtype));
      tensor.data = static_cast<std::byte*>(tensor.data) + 8;
      EXPECT_EQ(refused(c, wrong), name) << "base";
      wrong = right;
      tensor.strides[0] -= 8 / element;
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
