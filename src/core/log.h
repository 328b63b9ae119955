// Messages to the callback that the user installed (flashmla/backends.h); silent without one.
#pragma once

#include <string_view>

namespace flashmla {

void log(std::string_view message);

}  // namespace flashmla
