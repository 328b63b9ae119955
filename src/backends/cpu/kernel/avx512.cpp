#define FLASHMLA_CPU_ISA avx512
#define FLASHMLA_CPU_VECTOR_BYTES 64
#include "backends/cpu/kernel/kernels.h"

namespace flashmla::backends::cpu::avx512 {

extern constinit const KernelTable kernels = make_kernels();

}  // namespace flashmla::backends::cpu::avx512
