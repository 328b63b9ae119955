#define FLASHMLA_ROOFLINE_VECTOR_BYTES 64
#include "tools/roofline/loops_for_isa.h"

namespace flashmla::tools {

const RooflineLoops avx512_loops = loops;

}  // namespace flashmla::tools
