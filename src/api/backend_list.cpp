#include "api/backend_list.h"

#include <algorithm>
#include <array>
#include <sstream>

#include "api/validate.h"
#include "backends/cpu/cpu_backend.h"
#include "backends/cpu/thread_pool.h"
#if defined(FLASHMLA_HAS_CUDA)
#include "backends/cuda/cuda_backend.h"
#endif
#include "core/check.h"
#include "core/switches.h"
#include "flashmla/backends.h"

namespace flashmla {

namespace api {

namespace {

// Whether `name` is one of the names in a list like "cuda,cpu".
bool listed(std::string_view list, std::string_view name) {
  while (!list.empty()) {
    const std::size_t comma = std::min(list.find(','), list.size());
    if (list.substr(0, comma) == name)
      return true;
    list.remove_prefix(std::min(comma + 1, list.size()));
  }
  return false;
}

}  // namespace

std::span<const backends::Backend* const> backend_list() {
  static const std::array list = {
#if defined(FLASHMLA_HAS_CUDA)
      &backends::cuda::cuda_backend(),
#endif
      &backends::cpu::cpu_backend(),
  };
  return list;
}

std::optional<std::string> out_of_use(const backends::Backend& backend) {
  const auto filter = switches::backend();
  if (filter && !listed(*filter, backend.name()))
    return text("filtered out by FLASHMLA_BACKEND=", *filter);
  return backend.unavailable();
}

std::optional<std::string> refusal(const backends::Backend& backend, const Problem& problem) {
  if (auto reason = out_of_use(backend))
    return reason;
  if (backend.device_type() != problem.device.type)
    return text("serves no tensors on ", describe(problem.device));
  return backend.refuses(problem);
}

const backends::Backend& backend_for(const Device& device, const char* argument) {
  std::string reasons;
  for (const backends::Backend* backend : backend_list()) {
    auto reason = out_of_use(*backend);
    if (!reason && backend->device_type() != device.type)
      reason = text("serves no tensors on ", describe(device));
    else if (!reason && device.index >= backend->device_count())
      reason =
          text("has no ", describe(device), " among its ", backend->device_count(), " devices");
    if (!reason)
      return *backend;
    reasons += text(reasons.empty() ? "" : "; ", backend->name(), ": ", *reason);
  }
  throw Error(ErrorCode::unsupported, argument, text("a tensor on ", describe(device)),
              text("a device that a backend of this build serves (", reasons, ")"));
}

}  // namespace api

std::vector<BackendDescription> list_backends() {
  std::vector<BackendDescription> descriptions;
  for (const backends::Backend* backend : api::backend_list())
    descriptions.push_back({std::string(backend->name()),
                            api::out_of_use(*backend).value_or(std::string()), backend->devices()});
  return descriptions;
}

std::string refusal(std::string_view backend_name, const Problem& problem) {
  api::validate_problem(problem);
  std::string names;
  for (const backends::Backend* backend : api::backend_list()) {
    if (backend->name() == backend_name)
      return api::refusal(*backend, problem).value_or(std::string());
    names += text(names.empty() ? "" : ", ", backend->name());
  }
  reject("backend", text("\"", backend_name, "\""), text("one of: ", names));
}

std::string_view version() {
  return FLASHMLA_VERSION;
}

void set_cpu_threads(int threads) {
  check_range("threads", threads, 0, 4096);
  backends::cpu::set_threads(threads);
}

int cpu_threads() {
  return backends::cpu::threads();
}

}  // namespace flashmla
