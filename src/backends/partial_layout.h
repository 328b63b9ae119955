// Where the partial results of split requests lie in the run workspace, on every backend: out of
// all of them [count, rows, d_v], then what stands beside each row.
#pragma once

#include <cstddef>
#include <cstdint>

#include "backends/schedule_shape.h"
#include "flashmla/problem.h"
#include "schedule/split_kv.h"

namespace flashmla::backends {

// The form of a backend's partial results.
struct PartialBytes {
  std::size_t element;  // of out
  std::size_t beside;   // beside each row: its lse, and whatever else there is
};

struct PartialLayout {
  std::int64_t count;  // partial results of all requests together, at most
  std::int64_t rows;   // query rows of each
  std::size_t out_bytes;
  std::size_t beside_bytes;

  constexpr PartialLayout(const Problem& problem, const schedule::SplitParams& params,
                          const PartialBytes& bytes)
      : count(schedule::max_partials(params, ScheduleShape(problem).tokens)),
        rows(ScheduleShape(problem).rows),
        out_bytes(static_cast<std::size_t>(count * rows * problem.v_dim) * bytes.element),
        beside_bytes(static_cast<std::size_t>(count * rows) * bytes.beside) {}

  constexpr std::size_t bytes() const { return out_bytes + beside_bytes; }
};

}  // namespace flashmla::backends
