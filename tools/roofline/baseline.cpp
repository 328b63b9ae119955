#include "tools/roofline/loops_for_isa.h"

namespace flashmla::tools {

const RooflineLoops baseline_loops = loops;

}  // namespace flashmla::tools
