// The parameters of a launch of combine.
#pragma once

#include <cstdint>

#include "sm90/attend/call.h"
#include "sm90/ops/fast_divisor.h"

namespace flashmla::sm90::combine {

// `Output` is attend::Output or attend::TokenOutput.
template <class Output>
struct Params {
  attend::Schedule schedule;
  Output output;
  attend::Partials partials;
  attend::Rows rows;
  ops::FastDivisor by_rows;  // of a KV head
  std::int32_t groups;       // of schedule::combine_rows rows, of a request
  ops::FastDivisor by_groups;
};

}  // namespace flashmla::sm90::combine
