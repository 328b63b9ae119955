#define FLASHMLA_CPU_ISA baseline
#define FLASHMLA_CPU_VECTOR_BYTES 16
#include "backends/cpu/kernel/kernels.h"

namespace flashmla::backends::cpu::baseline {

extern constinit const KernelTable kernels = make_kernels();

}  // namespace flashmla::backends::cpu::baseline
