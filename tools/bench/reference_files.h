// benchmarks/reference/*.json, embedded by the build.
#pragma once

#include <span>
#include <string_view>

namespace flashmla::tools {

struct ReferenceFile {
  std::string_view name;  // "h200_upstream_dense.json": begins with the card
  std::string_view json;
};

std::span<const ReferenceFile> reference_files();

}  // namespace flashmla::tools
