// The kernel table of the instruction set for which the including file is compiled.
#pragma once

#include "backends/cpu/kernel/attend.h"
#include "backends/cpu/kernel/fp8.h"
#include "backends/cpu/kernel/half.h"
#include "backends/cpu/kernel/table.h"

#define FLASHMLA_CPU_TEXT_OF(name) #name
#define FLASHMLA_CPU_TEXT(name) FLASHMLA_CPU_TEXT_OF(name)

namespace flashmla::backends::cpu::FLASHMLA_CPU_ISA {

inline void scale(const float* source, float* target, std::int32_t count, float factor) {
  for (int i = 0; i < count; i += lanes)
    store(target + i, load(source + i) * factor);
}

inline void add_scaled(const float* source, float* target, std::int32_t count, float factor) {
  for (int i = 0; i < count; i += lanes)
    store(target + i, load(target + i) + load(source + i) * factor);
}

inline constexpr KernelTable make_kernels() {
  return {.name = FLASHMLA_CPU_TEXT(FLASHMLA_CPU_ISA),
          .bf16 = {load_row<Bf16>, store_row<Bf16>},
          .fp16 = {load_row<Fp16>, store_row<Fp16>},
          .load_e4m3 = load_e4m3,
          .attend_block = attend_block,
          .scale = scale,
          .add_scaled = add_scaled};
}

}  // namespace flashmla::backends::cpu::FLASHMLA_CPU_ISA
