#include "backends/cpu/isa.h"

#include <string>

#include "core/check.h"
#include "core/switches.h"

namespace flashmla::backends::cpu {

namespace {

std::vector<const KernelTable*> find_usable() {
  std::vector<const KernelTable*> usable;
#if defined(FLASHMLA_CPU_X86)
  const bool has_avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  if (has_avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
      __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl"))
    usable.push_back(&avx512::kernels);
  if (has_avx2)
    usable.push_back(&avx2::kernels);
#endif
  usable.push_back(&baseline::kernels);
  return usable;
}

}  // namespace

const std::vector<const KernelTable*>& usable_kernels() {
  static const std::vector<const KernelTable*> usable = find_usable();
  return usable;
}

const KernelTable& chosen_kernels() {
  const auto wanted = switches::cpu_isa();
  if (!wanted)
    return *usable_kernels().front();
  std::string names;
  for (const KernelTable* kernels : usable_kernels()) {
    if (*wanted == kernels->name)
      return *kernels;
    names += text(names.empty() ? "" : ", ", kernels->name);
  }
  reject("FLASHMLA_CPU_ISA", *wanted, text("one of those of this build and processor: ", names));
}

}  // namespace flashmla::backends::cpu
