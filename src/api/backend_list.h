// The list of the backends of this build. GPU backends come first.
#pragma once

#include <optional>
#include <span>
#include <string>

#include "backends/backend.h"

namespace flashmla::api {

std::span<const backends::Backend* const> backend_list();

// Why a backend cannot be used now: FLASHMLA_BACKEND filters it out, or the machine lacks
// something. Empty where the backend can be used.
std::optional<std::string> out_of_use(const backends::Backend& backend);

// Why a backend does not serve a valid problem. Empty where the backend serves it.
std::optional<std::string> refusal(const backends::Backend& backend, const Problem& problem);

// The first backend that can be used for tensors on `device`. Where there is none, an Error
// (unsupported) names `argument` and the reason of every backend.
const backends::Backend& backend_for(const Device& device, const char* argument);

}  // namespace flashmla::api
