#include "tools/bench/suites.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "flashmla/plan.h"
#include "tools/command.h"
#include "tools/option_values.h"

namespace flashmla::tools {

std::span<const Suite> suites() {
  static const std::array<Suite, 3> all{
      {{"dense", AttentionKind::dense_decode, dense_shapes(),
        [](KvFormat) { return gpu_dense_shapes(); }, dense_workload},
       {"sparse", AttentionKind::sparse_decode, sparse_shapes(), gpu_sparse_shapes,
        sparse_workload},
       {"prefill", AttentionKind::sparse_prefill, prefill_shapes(),
        [](KvFormat) { return prefill_shapes(); }, prefill_workload}}};
  return all;
}

const Suite& suite_named(std::string_view name) {
  const auto found = std::ranges::find(suites(), name, &Suite::name);
  if (found == suites().end())
    throw BadInput(fmt::format("--suite: given {}, wanted dense, sparse or prefill",
                               shown(std::string(name))));
  return *found;
}

Workloads workloads_of(const BenchOptions& options) {
  const Suite& suite = suite_named(options.suite);
  const std::span<const Shape> of_suite =
      options.on_gpu() ? suite.gpu_shapes(format_named(options.format)) : suite.cpu_shapes;
  std::vector<Shape> shapes;
  for (const std::string& text : options.shapes)
    shapes.push_back(parse_shape(text));
  if (shapes.empty())
    shapes.assign(of_suite.begin(), of_suite.end());
  Workloads workloads;
  for (const Shape& shape : shapes)
    make_plan(workloads.emplace_back(suite.workload(shape, options))->problem());
  return workloads;
}

}  // namespace flashmla::tools
