// Programmatic dependent launch: kernels of a stream that overlap.
#pragma once

#include "sm90/ptx/device.h"

namespace flashmla::sm90::ptx {

// Waits until the kernels before this one are complete and their writes visible.
FLASHMLA_DEVICE void wait_for_prerequisites() {
  asm volatile("griddepcontrol.wait;" ::: "memory");
}

// Lets the kernel after this one start, once every CTA has said so or ended.
FLASHMLA_DEVICE void launch_dependents() {
  asm volatile("griddepcontrol.launch_dependents;" ::: "memory");
}

}  // namespace flashmla::sm90::ptx
