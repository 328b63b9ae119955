#include "support/device/cuda_stopwatch.h"

namespace flashmla::support {

void CudaStopwatch::start() {
  if (used_ == pieces_.size())
    pieces_.emplace_back();
  pieces_[used_].begin.record(nullptr);
}

void CudaStopwatch::stop() {
  pieces_[used_++].end.record(nullptr);
}

double CudaStopwatch::seconds() {
  double seconds = 0;
  for (std::size_t i = 0; i < used_; ++i)
    seconds += pieces_[i].end.seconds_since(pieces_[i].begin);
  used_ = 0;
  return seconds;
}

}  // namespace flashmla::support
