// The output bits of a request do not depend on requests of length 0 in its batch, with which
// engines fill up batches. This holds where the same kernel computes both batches with tiles of the
// same size.
#include <algorithm>
#include <cstring>
#include <string>
#include <vector>

#include "flashmla/decode.h"
#include "support/generate.h"
#include "support/random.h"
#include "tests/backends/backend_types.h"

namespace flashmla::backends {
namespace {

using support::DenseCase;
using support::GuardedBuffer;
using support::GuardedTensor;
using support::Random;

// A batch of requests with tokens, and 1 … 9 requests without tokens, at the end or anywhere.
DenseCase draw_case(Random& random) {
  DenseCase c;
  c.seed = random.next();
  c.query_heads = random.pick({3, 16, 40, 64, 128});
  c.query_tokens = random.chance(0.3) ? 2 : 1;
  c.causal = random.chance(0.5);
  c.max_workers = random.chance(0.3) ? static_cast<std::int32_t>(random.between(1, 16)) : 0;
  c.batch_invariant = random.chance(0.2);
  const std::int64_t requests = random.between(1, 8);
  const bool equal = random.chance(0.3);  // equal requests may have workers of their own
  for (std::int64_t r = 0; r < requests; ++r)
    c.lengths.push_back(equal && r > 0 ? c.lengths[0]
                                       : static_cast<std::int32_t>(random.log_between(1, 2000)));
  const bool at_the_end = random.chance(0.5);
  for (std::int64_t i = random.between(1, 9); i > 0; --i)
    c.lengths.insert(
        at_the_end ? c.lengths.end() : c.lengths.begin() + random.between(0, std::ssize(c.lengths)),
        0);
  return c;
}

// The out and lse of a call with some requests of a case, and the kernel of its plan.
struct Computed {
  std::string kernel;
  std::vector<std::byte> out;  // [requests, s_q, h_q, d_v]
  std::vector<std::byte> lse;  // [requests, h_q, s_q]
};

class Call {
 public:
  Call(const DenseCase& dense_case, support::Memory& memory)
      : case_(dense_case), memory_(memory), tensors_(dense_case, memory) {}

  Computed run(const std::vector<std::int64_t>& requests) {
    Problem problem = problem_of(case_, memory_.device());
    problem.batch = std::ssize(requests);
    Inputs inputs = tensors_.inputs();
    const GuardedTensor q = rows_of(tensors_.q, requests);
    const GuardedTensor table = rows_of(tensors_.block_table, requests);
    const GuardedTensor lengths = rows_of(tensors_.lengths, requests);
    const GuardedTensor out = rows_of(tensors_.out, requests);
    const GuardedTensor lse = rows_of(tensors_.lse, requests);
    inputs.q = q.view;
    inputs.block_table = table.view;
    Plan plan = make_plan(problem);
    const GuardedBuffer plan_workspace(memory_, plan.plan_workspace_bytes());
    const GuardedBuffer run_workspace(memory_, plan.run_workspace_bytes());
    plan.schedule(lengths.view, {plan_workspace.data(), plan_workspace.bytes()});
    flashmla::run(plan, inputs, {out.view, lse.view, {}},
                  {run_workspace.data(), run_workspace.bytes()});
    memory_.wait();
    const std::string text = plan.describe();
    const std::size_t line = text.find("kernel ");
    return {text.substr(line, text.find('\n', line) - line), out.buffer.download(),
            lse.buffer.download()};
  }

 private:
  // The rows of the chosen requests, one behind the other.
  GuardedTensor rows_of(GuardedTensor& tensor, const std::vector<std::int64_t>& requests) {
    TensorView view = tensor.view;
    view.data = nullptr;
    view.shape[0] = std::ssize(requests);
    GuardedTensor rows = make_tensor(view, memory_);
    const std::size_t bytes = tensor.buffer.bytes() / static_cast<std::size_t>(case_.batch());
    for (std::size_t i = 0; i < requests.size(); ++i)
      std::memcpy(rows.buffer.image().data() + i * bytes,
                  tensor.buffer.image().data() + static_cast<std::size_t>(requests[i]) * bytes,
                  bytes);
    rows.buffer.upload();
    return rows;
  }

  const DenseCase case_;
  support::Memory& memory_;
  support::DenseTensors tensors_;
};

// The parts of `rows`, which are those of all requests, that belong to the requests `some`.
std::vector<std::byte> part_of(const std::vector<std::byte>& rows, std::int64_t batch,
                               const std::vector<std::int64_t>& some) {
  const std::size_t bytes = rows.size() / static_cast<std::size_t>(batch);
  std::vector<std::byte> part;
  for (const std::int64_t request : some) {
    const auto first = rows.begin() + request * static_cast<std::ptrdiff_t>(bytes);
    part.insert(part.end(), first, first + static_cast<std::ptrdiff_t>(bytes));
  }
  return part;
}

template <class Backend>
class EmptyRequests : public BackendTest<Backend> {};
TYPED_TEST_SUITE(EmptyRequests, BackendTypes, NameOfBackend);

TYPED_TEST(EmptyRequests, ChangeNoBitOfTheOthers) {
  const std::uint64_t seed = support::fresh_seed();
  Random random(seed);
  int compared = 0;
  for (int i = 0; i < 40; ++i) {
    const DenseCase dense_case = draw_case(random);
    SCOPED_TRACE(::testing::Message() << "seed " << seed << ": " << describe(dense_case));
    std::vector<std::int64_t> all;
    std::vector<std::int64_t> others;
    std::vector<std::int64_t> empty;
    for (std::int64_t r = 0; r < dense_case.batch(); ++r) {
      all.push_back(r);
      (dense_case.lengths[r] > 0 ? others : empty).push_back(r);
    }
    Call call(dense_case, *this->memory_);
    const Computed filled_up = call.run(all);
    const std::vector<std::byte> zeros = part_of(filled_up.out, dense_case.batch(), empty);
    ASSERT_TRUE(std::ranges::all_of(zeros, [](std::byte b) { return b == std::byte{0}; }));
    const Computed alone = call.run(others);
    if (alone.kernel != filled_up.kernel)
      continue;
    ++compared;
    ASSERT_EQ(part_of(filled_up.out, dense_case.batch(), others), alone.out);
    ASSERT_EQ(part_of(filled_up.lse, dense_case.batch(), others), alone.lse);
  }
  EXPECT_GT(compared, 10);
}

}  // namespace
}  // namespace flashmla::backends
