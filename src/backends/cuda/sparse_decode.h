// Sparse decoding on the GPU: the decisions for a problem, and the launches of a call.
#pragma once

#include <optional>
#include <string>

#include "backends/backend.h"
#include "sm90/kernels/combine/launch.h"
#include "sm90/kernels/sparse_decode/table.h"

namespace flashmla::backends::cuda {

// The query rows of a query token are its heads. Each thread block computes a tile of them.
struct HeadTiles {
  sm90::sparse_decode::Kernel kernel;
  std::int64_t tiles;
  std::int64_t workers;  // of the schedule; a worker has a thread block for every tile
  std::int64_t blocks;   // thread blocks of a worker; fewer than tiles where the GPU has fewer
                         // multiprocessors

  // `multiprocessors` are those that the call may use.
  HeadTiles(const Problem& problem, std::int64_t multiprocessors);
};

class SparseDecode final : public Computation {
 public:
  // For a Hopper GPU. `multiprocessors` is the number of all multiprocessors of the GPU, which
  // combine uses.
  SparseDecode(const Problem& problem, const HeadTiles& tiles, std::int64_t multiprocessors);

  std::string kernel() const override;
  void prepare() const override;
  void run(const PlannedProblem& planned, const Inputs& inputs, const Outputs& outputs,
           float softmax_scale, void* run_workspace, void* stream) const override;

 private:
  Problem problem_;
  HeadTiles tiles_;
  sm90::combine::Kernel<sm90::attend::TokenOutput> combine_;
};

// Why no kernel computes the problem. Empty where one does.
std::optional<std::string> refuses_sparse_decode(const Problem& problem);

}  // namespace flashmla::backends::cuda
