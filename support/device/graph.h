// CUDA graphs of captured work. Built where the CUDA toolkit is.
#pragma once

#include <cuda_runtime_api.h>

#include "support/device/cuda_call.h"

namespace flashmla::support {

// A graph of everything that `work(stream)` launches.
class Graph {
 public:
  template <class Work>
  Graph(const Work& work, cudaStream_t stream) {
    cuda_call(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal),
              "cudaStreamBeginCapture");
    try {
      work(stream);
    } catch (...) {
      cudaStreamEndCapture(stream, &graph_);
      destroy();
      throw;
    }
    cuda_call(cudaStreamEndCapture(stream, &graph_), "cudaStreamEndCapture");
  }
  Graph(const Graph&) = delete;
  Graph& operator=(const Graph&) = delete;
  ~Graph() { destroy(); }

  cudaGraph_t get() const { return graph_; }

 private:
  void destroy() const {
    if (graph_ != nullptr)
      cudaGraphDestroy(graph_);
  }

  cudaGraph_t graph_ = nullptr;
};

class GraphReplay {
 public:
  explicit GraphReplay(const Graph& graph) {
    cuda_call(cudaGraphInstantiate(&replay_, graph.get(), 0), "cudaGraphInstantiate");
  }
  GraphReplay(const GraphReplay&) = delete;
  GraphReplay& operator=(const GraphReplay&) = delete;
  ~GraphReplay() { cudaGraphExecDestroy(replay_); }

  void launch(cudaStream_t stream) const {
    cuda_call(cudaGraphLaunch(replay_, stream), "cudaGraphLaunch");
  }

 private:
  cudaGraphExec_t replay_ = nullptr;
};

}  // namespace flashmla::support
