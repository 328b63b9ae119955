#define FLASHMLA_ROOFLINE_VECTOR_BYTES 32
#include "tools/roofline/loops_for_isa.h"

namespace flashmla::tools {

const RooflineLoops avx2_loops = loops;

}  // namespace flashmla::tools
