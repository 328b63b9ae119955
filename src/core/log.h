// Messages to the callback of set_log_callback() (flashmla/backends.h). Without a callback nothing
// happens.
#pragma once

#include <cstdint>
#include <string_view>

namespace flashmla {

void log(std::string_view message);

// The number of the installed callback, counted from 1, or 0 where none is installed. The function
// takes one load, so that calls use it before they build a message.
std::uint32_t log_callback_number();

}  // namespace flashmla
