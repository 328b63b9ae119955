// Which instruction set the kernels use: the best that the processor has, or FLASHMLA_CPU_ISA.
#pragma once

#include <vector>

#include "backends/cpu/kernel/table.h"
#include "flashmla/dtype.h"

namespace flashmla::backends::cpu {

// The tables that this processor can run, best first; never empty.
const std::vector<const KernelTable*>& usable_kernels();

// The table to use now. Throws Error where FLASHMLA_CPU_ISA names none of usable_kernels().
const KernelTable& chosen_kernels();

// `type` is bf16 or fp16.
inline const HalfCodec& codec_of(const KernelTable& kernels, DType type) {
  return type == DType::fp16 ? kernels.fp16 : kernels.bf16;
}

}  // namespace flashmla::backends::cpu
