// Programmatic dependent launch: kernels of a stream that overlap.
#pragma once

#include "sm90/ptx/device.h"

namespace flashmla::sm90::ptx {

// Waits until the kernels in front of this one are complete and their writes are visible.
FLASHMLA_DEVICE void wait_for_prerequisites() {
  asm volatile("griddepcontrol.wait;" ::: "memory");
}

// Allows the next kernel to start, which it does when every CTA has called this or has ended.
FLASHMLA_DEVICE void launch_dependents() {
  asm volatile("griddepcontrol.launch_dependents;" ::: "memory");
}

}  // namespace flashmla::sm90::ptx
