// Where the partial results of split requests lie in the run workspace, on every backend: first out
// of all of them [count, rows, d_v], then the data beside each row.
#pragma once

#include <cstddef>
#include <cstdint>

#include "backends/schedule_shape.h"
#include "flashmla/problem.h"
#include "schedule/partial_bytes.h"
#include "schedule/split_kv.h"

namespace flashmla::backends {

struct PartialLayout {
  std::int64_t count;  // largest number of partial results of all requests together
  std::int64_t rows;   // query rows of each partial result
  std::size_t out_bytes;
  std::size_t beside_bytes;

  constexpr PartialLayout(const Problem& problem, const schedule::SplitParams& params,
                          const schedule::PartialBytes& bytes)
      : count(schedule::max_partials(params, ScheduleShape(problem).tokens)),
        rows(ScheduleShape(problem).rows),
        out_bytes(static_cast<std::size_t>(count * rows * problem.v_dim) * bytes.element),
        beside_bytes(static_cast<std::size_t>(count * rows) * bytes.beside) {}

  constexpr std::size_t bytes() const { return out_bytes + beside_bytes; }
};

}  // namespace flashmla::backends
