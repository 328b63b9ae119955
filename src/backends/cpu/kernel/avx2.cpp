#define FLASHMLA_CPU_ISA avx2
#define FLASHMLA_CPU_VECTOR_BYTES 32
#include "backends/cpu/kernel/kernels.h"

namespace flashmla::backends::cpu::avx2 {

extern constinit const KernelTable kernels = make_kernels();

}  // namespace flashmla::backends::cpu::avx2
