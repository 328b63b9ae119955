// The choice of the instruction set: the best one of the processor, or that of FLASHMLA_CPU_ISA.
#pragma once

#include <vector>

#include "backends/cpu/kernel/table.h"
#include "flashmla/dtype.h"

namespace flashmla::backends::cpu {

// The kernel tables that this processor can run. The best one comes first. There is at least one.
const std::vector<const KernelTable*>& usable_kernels();

// The kernel table of the next call. Throws Error where FLASHMLA_CPU_ISA names none of
// usable_kernels().
const KernelTable& chosen_kernels();

// `type` is bf16 or fp16.
inline const HalfCodec& codec_of(const KernelTable& kernels, DType type) {
  return type == DType::fp16 ? kernels.fp16 : kernels.bf16;
}

}  // namespace flashmla::backends::cpu
