// Runs a dense case through the library's interface and judges everything about it: accuracy, what
// must be exact, what must be finite, and memory that must not have changed.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "support/case.h"
#include "support/case_result.h"
#include "support/generate.h"
#include "support/memory.h"

namespace flashmla::support {

// Above this many rows × tokens the oracle checks a choice of rows.
inline constexpr std::int64_t oracle_row_tokens = 200'000;
inline constexpr std::int64_t oracle_rows = 64;

// The rows that the oracle checks, in order, each once: all of a small case; of others at least
// oracle_rows, with rows of the longest request, of an empty one, the first and the last.
std::vector<RowIndex> rows_to_check(const DenseCase& dense_case);

// What computes a case: the library, or whatever a test puts in its place.
using DenseFunction = std::function<void(DenseTensors& tensors, CaseResult& result)>;

// Generates, computes and judges. An Error that the library throws is a fault; one of code
// `unsupported` comes back to the caller.
CaseResult run_case(const DenseCase& dense_case, Memory& memory);
CaseResult run_case(const DenseCase& dense_case, Memory& memory, const DenseFunction& compute);

}  // namespace flashmla::support
