// Points in time as traces give them.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

namespace flashmla::tools {

// Nanoseconds since 1970 of "2023-11-16 18:15:46.6805900", a year from 1970 to 2199; the fraction
// is optional and cut at nine digits. T may stand for the blank, and Z or an offset ("+00:00") at
// the end; without one the time counts as UTC. Nothing where the text is no such time.
std::optional<std::int64_t> parse_timestamp(std::string_view text);

}  // namespace flashmla::tools
