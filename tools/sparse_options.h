// What sparse problems need beyond the options of dense ones, shared by `run` and `bench`.
#pragma once

#include <cstdint>
#include <string>

#include "support/sparse_case.h"
#include "tools/dense_options.h"

namespace CLI {
class App;
}

namespace flashmla::tools {

struct SparseOptions {
  std::int64_t topk = 2048;
  std::int64_t extra_topk = 0;
  std::int64_t extra_page_size = 16;
};

void add_sparse_options(CLI::App& app, SparseOptions& options);

AttentionKind kind_named(const std::string& name);  // dense, sparse, prefill

// The case of a sparse problem. --batch, --tokens and the like mean what they mean in dense
// problems: the cache holds batch · tokens slots. Lists name random slots. Throws BadInput on
// options that only dense attention has.
support::SparseCase sparse_case_of(AttentionKind kind, const DenseOptions& dense,
                                   const SparseOptions& sparse);

}  // namespace flashmla::tools
