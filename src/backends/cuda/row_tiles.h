// How the query rows of a call are divided among thread blocks. The rows of one KV head are query
// tokens × the query heads that use it: row = token · group + head in group.
#pragma once

#include <cstdint>

#include "flashmla/problem.h"
#include "schedule/cost_model.h"
#include "sm90/kernels/dense_decode/table.h"

namespace flashmla::backends::cuda {

// The properties of a GPU that the choice of tiles uses.
struct TileDevice {
  std::int32_t index;
  std::int64_t multiprocessors;  // multiprocessors that the call may use
  double memory_rate;            // nominal rate of device memory, bytes per second; 0: not known
  // How many clusters of four tiles the GPU runs at the same time. Called only where it matters.
  std::int64_t (*max_clusters_of_four)(std::int32_t index);
};

struct RowTiles {
  std::int64_t group;  // query heads of one KV head
  std::int64_t rows;   // of one KV head
  sm90::dense_decode::Kernel kernel;
  std::int64_t tiles;         // of one KV head
  std::int64_t total;         // tiles of all KV heads
  std::int64_t workers;       // of the schedule; a worker has a thread block for every tile
  std::int64_t blocks;        // thread blocks of a worker; fewer than tiles where the GPU has fewer
                              // multiprocessors
  std::int64_t fast_workers;  // the first workers, whose four tiles are one cluster of fast_kernel
  sm90::dense_decode::Kernel fast_kernel{};

  RowTiles(const Problem& problem, const TileDevice& device);

  schedule::WorkerSpeeds speeds() const;
};

}  // namespace flashmla::backends::cuda
