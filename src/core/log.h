// Messages to the callback of set_log_callback() (flashmla/backends.h). Without a callback nothing
// happens.
#pragma once

#include <string_view>

namespace flashmla {

void log(std::string_view message);

}  // namespace flashmla
