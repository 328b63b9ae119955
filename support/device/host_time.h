// What a call costs on the host, beside the launches that it makes. Built where the CUDA toolkit
// is.
#pragma once

#include "support/device/graph_timer.h"

namespace flashmla::support {

// The seconds that one call takes on the host: medians of rounds in which both take turns.
struct HostTimes {
  double call = 0;      // of work(stream)
  double launches = 0;  // of launching the same kernels with the same parameters and attributes
};

// `work` launches kernels and nothing else.
HostTimes host_times(const Launch& work);

}  // namespace flashmla::support
