// Plans one decode call with an installed FlashMLA; 0 when the CPU backend takes it.
#include <flashmla/flashmla.h>

int main() {
  flashmla::Problem problem;
  problem.batch = 2;
  problem.query_heads = 16;
  problem.max_blocks = 8;
  const flashmla::Plan plan = flashmla::make_plan(problem);
  return plan.backend() == "cpu" && plan.plan_workspace_bytes() > 0 ? 0 : 1;
}
