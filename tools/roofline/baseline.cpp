#define FLASHMLA_ROOFLINE_VECTOR_BYTES 16
#include "tools/roofline/loops_for_isa.h"

namespace flashmla::tools {

const RooflineLoops baseline_loops = loops;

}  // namespace flashmla::tools
