// Messages to the callback of set_log_callback() (flashmla/backends.h). Without a callback nothing
// happens.
#pragma once

#include <cstdint>
#include <string_view>

namespace flashmla {

void log(std::string_view message);

// The number of the callback that is installed: callbacks are counted from 1. 0 where none is. It
// costs a load, so that calls ask before they make up a message.
std::uint32_t log_callback_number();

}  // namespace flashmla
