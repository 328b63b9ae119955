#include "support/device/host_time.h"

#include <cuda.h>

#include <algorithm>
#include <chrono>
#include <stdexcept>

#include "support/device/graph.h"
#include "support/median.h"

namespace flashmla::support {

namespace {

// The driver's functions are found at run time: nothing links libcuda.
template <class Function>
Function* driver_function(const char* name, unsigned version) {
  void* function = nullptr;
  cudaDriverEntryPointQueryResult found{};
  cuda_call(cudaGetDriverEntryPointByVersion(name, &function, version, cudaEnableDefault, &found),
            name);
  if (found != cudaDriverEntryPointSuccess)
    throw std::runtime_error(std::string(name) + ": not in this driver");
  return reinterpret_cast<Function*>(function);
}

void driver_call(CUresult result, const char* what) {
  if (result != CUDA_SUCCESS)
    throw std::runtime_error(std::string(what) + ": driver error " + std::to_string(result));
}

constexpr unsigned cuda_12 = 12000;

// A kernel of a graph, ready to be launched again.
struct KernelLaunch {
  CUfunction function;
  CUlaunchConfig config;
  std::vector<CUlaunchAttribute> attributes;
  void** parameters;  // belong to the graph
};

KernelLaunch launch_of(CUgraphNode node, CUstream stream) {
  CUDA_KERNEL_NODE_PARAMS kernel{};
  driver_call(driver_function<decltype(cuGraphKernelNodeGetParams_v2)>("cuGraphKernelNodeGetParams",
                                                                       cuda_12)(node, &kernel),
              "cuGraphKernelNodeGetParams");
  KernelLaunch launch{};
  launch.function =
      kernel.func != nullptr ? kernel.func : reinterpret_cast<CUfunction>(kernel.kern);
  launch.config = {.gridDimX = kernel.gridDimX,
                   .gridDimY = kernel.gridDimY,
                   .gridDimZ = kernel.gridDimZ,
                   .blockDimX = kernel.blockDimX,
                   .blockDimY = kernel.blockDimY,
                   .blockDimZ = kernel.blockDimZ,
                   .sharedMemBytes = kernel.sharedMemBytes,
                   .hStream = stream,
                   .attrs = nullptr,
                   .numAttrs = 0};
  // The library's kernels may all overlap with the one before; a graph keeps that as a kind of
  // edge.
  CUlaunchAttribute attribute{};
  attribute.id = CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_STREAM_SERIALIZATION;
  attribute.value.programmaticStreamSerializationAllowed = 1;
  launch.attributes.push_back(attribute);
  CUlaunchAttributeValue cluster{};
  driver_call(driver_function<decltype(cuGraphKernelNodeGetAttribute)>(
                  "cuGraphKernelNodeGetAttribute", cuda_12)(
                  node, CU_LAUNCH_ATTRIBUTE_CLUSTER_DIMENSION, &cluster),
              "cuGraphKernelNodeGetAttribute");
  if (cluster.clusterDim.x > 1) {
    attribute.id = CU_LAUNCH_ATTRIBUTE_CLUSTER_DIMENSION;
    attribute.value = cluster;
    launch.attributes.push_back(attribute);
  }
  launch.parameters = kernel.kernelParams;
  return launch;
}

std::vector<KernelLaunch> launches_of(const Graph& graph, CUstream stream) {
  std::size_t count = 0;
  cuda_call(cudaGraphGetNodes(graph.get(), nullptr, &count), "cudaGraphGetNodes");
  std::vector<cudaGraphNode_t> nodes(count);
  cuda_call(cudaGraphGetNodes(graph.get(), nodes.data(), &count), "cudaGraphGetNodes");
  std::vector<KernelLaunch> launches;
  for (const cudaGraphNode_t node : nodes) {
    cudaGraphNodeType type{};
    cuda_call(cudaGraphNodeGetType(node, &type), "cudaGraphNodeGetType");
    if (type == cudaGraphNodeTypeKernel)
      launches.push_back(launch_of(node, stream));
  }
  for (KernelLaunch& launch : launches) {
    launch.config.attrs = launch.attributes.data();
    launch.config.numAttrs = static_cast<unsigned>(launch.attributes.size());
  }
  return launches;
}

}  // namespace

HostTimes host_times(const Launch& work) {
  cudaStream_t stream = nullptr;
  cuda_call(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking), "cudaStreamCreate");
  HostTimes times;
  {
    const Graph graph(work, stream);
    const std::vector<KernelLaunch> launches = launches_of(graph, stream);
    auto* const launch_kernel =
        driver_function<decltype(cuLaunchKernelEx)>("cuLaunchKernelEx", cuda_12);
    const auto launch_all = [&] {
      for (const KernelLaunch& launch : launches)
        driver_call(launch_kernel(&launch.config, launch.function, launch.parameters, nullptr),
                    "cuLaunchKernelEx");
    };
    // Few enough calls that the stream's queue takes them without waiting.
    constexpr int calls = 50;
    constexpr int rounds = 41;
    const auto seconds_of = [&](const auto& call) {
      cuda_call(cudaStreamSynchronize(stream), "cudaStreamSynchronize");
      const auto start = std::chrono::steady_clock::now();
      for (int i = 0; i < calls; ++i)
        call();
      return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count() /
             calls;
    };
    std::vector<double> call_seconds;
    std::vector<double> launch_seconds;
    for (int i = 0; i < rounds; ++i) {
      call_seconds.push_back(seconds_of([&] { work(stream); }));
      launch_seconds.push_back(seconds_of(launch_all));
    }
    cuda_call(cudaStreamSynchronize(stream), "cudaStreamSynchronize");
    times = {median(call_seconds), median(launch_seconds)};
  }
  cudaStreamDestroy(stream);
  return times;
}

}  // namespace flashmla::support
