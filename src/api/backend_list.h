// The ordered list of this build's backends: the GPU first.
#pragma once

#include <optional>
#include <span>
#include <string>

#include "backends/backend.h"

namespace flashmla::api {

std::span<const backends::Backend* const> backend_list();

// Why a backend may not be used now: filtered out by FLASHMLA_BACKEND, or unavailable on this
// machine.
std::optional<std::string> out_of_use(const backends::Backend& backend);

// Why a backend does not serve a valid problem, whatever the reason; nothing when it does.
std::optional<std::string> refusal(const backends::Backend& backend, const Problem& problem);

// The first usable backend for tensors on `device`; throws Error (unsupported) with every reason.
const backends::Backend& backend_for(const Device& device, const char* argument);

}  // namespace flashmla::api
