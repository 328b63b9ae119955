// Runs a sparse case through the library's interface and judges everything about it, as
// dense_runner.h does for dense ones.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "support/case_result.h"
#include "support/sparse_case.h"
#include "support/sparse_generate.h"

namespace flashmla::support {

// The rows that the oracle checks, in order, each once: all of a case of few rows × entries; of
// others some heads of some query tokens, the first and the last among them.
std::vector<RowIndex> rows_to_check(const SparseCase& sparse_case);

// The values of an FP8 cache that a result follows from: bf16(e4m3 · scale), or e4m3 · scale as it
// is. A kernel may compute with either (docs/numerics.md). Other caches have their numbers.
enum class CachedValues { rounded, exact };

// What must come out for some heads of one query token.
std::vector<Reference> reference_of(SparseTensors& tensors, std::span<const RowIndex> rows,
                                    CachedValues values = CachedValues::rounded);

using SparseFunction = std::function<void(SparseTensors& tensors, CaseResult& result)>;

// make_plan → schedule → run.
void run_library(SparseTensors& tensors, Memory& memory, CaseResult& result);

CaseResult run_case(const SparseCase& sparse_case, Memory& memory);
CaseResult run_case(const SparseCase& sparse_case, Memory& memory, const SparseFunction& compute);

}  // namespace flashmla::support
