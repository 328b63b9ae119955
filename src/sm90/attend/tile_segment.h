// The work of a CTA in one segment of the schedule.
#pragma once

#include <cstdint>

#include "sm90/ptx/device.h"

namespace flashmla::sm90::attend {

struct TileSegment {
  std::int32_t request;
  std::int32_t length;  // tokens that may be read
  std::int32_t first_block;
  std::int32_t blocks;   // blocks that a row of the cluster sees; may be 0
  std::int32_t partial;  // number of its partial result in the run workspace; −1: the result goes
                         // to the output
  std::int32_t kv_head;
  std::int32_t first_row;

  // The record that follows the last segment of a CTA (RecordQueue).
  static FLASHMLA_DEVICE TileSegment end() { return {no_request, 0, 0, 0, 0, 0, 0}; }
  FLASHMLA_DEVICE bool is_end() const { return request == no_request; }

 private:
  static constexpr std::int32_t no_request = -1;
};

}  // namespace flashmla::sm90::attend
