// The suites of `flashmla bench`: what each one times, and on which shapes.
#pragma once

#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "tools/bench/workload.h"

namespace flashmla::tools {

struct Suite {
  std::string_view name;  // of --suite
  AttentionKind kind;
  std::span<const Shape> cpu_shapes;
  std::span<const Shape> (*gpu_shapes)(KvFormat format);
  std::unique_ptr<Workload> (*workload)(const Shape& shape, const BenchOptions& options);
};

std::span<const Suite> suites();

// Throws BadInput on a name that no suite has.
const Suite& suite_named(std::string_view name);

// The workloads that the options ask for: of --shape, else of the suite. A plan was made of each,
// so that nothing that a backend refuses is found later. Throws BadInput, or Error as make_plan().
Workloads workloads_of(const BenchOptions& options);

}  // namespace flashmla::tools
