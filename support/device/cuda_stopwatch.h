// A stopwatch of events: device time, which the host's launches are no part of. Built where the
// CUDA toolkit is.
#pragma once

#include <cstddef>
#include <vector>

#include "support/device/event.h"
#include "support/stopwatch.h"

namespace flashmla::support {

class CudaStopwatch : public Stopwatch {
 public:
  void start() override;
  void stop() override;
  double seconds() override;

 private:
  struct Piece {
    Event begin;
    Event end;
  };

  std::vector<Piece> pieces_;  // events are kept for later pieces
  std::size_t used_ = 0;
};

}  // namespace flashmla::support
