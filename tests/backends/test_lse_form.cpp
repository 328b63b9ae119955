// The promise of every backend about lse_base and empty_lse: lse has the form that the caller asks
// for, and the bits of out do not depend on it.
#include <algorithm>
#include <cmath>
#include <vector>

#include "flashmla/decode.h"
#include "support/generate.h"
#include "support/guarded_workspaces.h"
#include "support/random.h"
#include "tests/backends/backend_types.h"
#include "tests/backends/sparse_call.h"

namespace flashmla::backends {
namespace {

using support::DenseCase;

struct Results {
  std::vector<std::byte> out;
  std::vector<float> lse;
};

template <class Backend>
class LseForm : public BackendTest<Backend> {
 protected:
  void expect_every_form(const DenseCase& dense_case) {
    support::DenseTensors tensors(dense_case, *this->memory_);
    expect_every_form(dense_case, tensors, tensors.lengths.view);
  }
  void expect_every_form(const support::SparseCase& sparse_case) {
    support::SparseTensors tensors(sparse_case, *this->memory_);
    expect_every_form(sparse_case, tensors, {});
  }

 private:
  template <class Case, class Tensors>
  void expect_every_form(const Case& c, Tensors& tensors, const TensorView& lengths) {
    SCOPED_TRACE(describe(c));
    Plan plan = make_plan(problem_of(c, this->memory_->device()));
    support::GuardedWorkspaces workspaces(plan, *this->memory_);
    plan.schedule(lengths, workspaces.plan());
    const auto run_as = [&](LseBase base, EmptyLse empty) {
      tensors.out.buffer.upload();
      tensors.lse.buffer.upload();
      Outputs outputs = tensors.outputs();
      outputs.lse_base = base;
      outputs.empty_lse = empty;
      run(plan, tensors.inputs(), outputs, workspaces.run());
      this->memory_->wait();
      const std::vector<std::byte> bytes = tensors.lse.buffer.download();
      const auto* const lse = reinterpret_cast<const float*>(bytes.data());
      return Results{tensors.out.buffer.download(), {lse, lse + bytes.size() / sizeof(float)}};
    };
    const Results plain = run_as(LseBase::natural, EmptyLse::plus_infinity);
    EXPECT_TRUE(std::ranges::any_of(plain.lse, [](float lse) { return std::isinf(lse); }));
    for (const LseBase base : {LseBase::natural, LseBase::two})
      for (const EmptyLse empty : {EmptyLse::plus_infinity, EmptyLse::minus_infinity}) {
        SCOPED_TRACE(::testing::Message() << name_of(base) << ", " << name_of(empty));
        const Results results = run_as(base, empty);
        EXPECT_EQ(results.out, plain.out);
        expect_form(results.lse, plain.lse, base, empty);
      }
  }

  static void expect_form(const std::vector<float>& lse, const std::vector<float>& plain,
                          LseBase base, EmptyLse empty) {
    for (std::size_t i = 0; i < plain.size(); ++i) {
      if (std::isinf(plain[i])) {
        ASSERT_EQ(lse[i], value_of(empty)) << i;
      } else if (base == LseBase::natural) {
        ASSERT_EQ(lse[i], plain[i]) << i;
      } else {
        const double wanted = plain[i] * scale_of(base);
        ASSERT_NEAR(lse[i], wanted, 3e-7 * std::fabs(wanted) + 1e-7) << i;
      }
    }
  }
};

TYPED_TEST_SUITE(LseForm, BackendTypes, NameOfBackend);

// The batch has requests that are cut and others, requests without tokens, queries that see no
// token, and a sink.
TYPED_TEST(LseForm, OfDenseDecoding) {
  for (const std::int64_t heads : {1, 16, 64, 128})
    for (const bool causal : {false, true}) {
      DenseCase dense_case;
      dense_case.seed = support::fresh_seed();
      dense_case.query_heads = heads;
      dense_case.query_tokens = causal ? 3 : 1;
      dense_case.causal = causal;
      dense_case.sink = true;
      dense_case.lengths = {2000, 0, 40, causal ? 1 : 0, 700};
      this->expect_every_form(dense_case);
    }
}

// Lists that are cut and others, empty lists, and a sink.
TYPED_TEST(LseForm, OfSparseDecoding) {
  for (const KvFormat format : sparse_formats)
    for (const std::int64_t heads : {1, 16, 32, 64, 128})
      for (const std::int64_t topk : {70, 2000}) {
        support::SparseCase c = sparse_case(format, heads);
        c.topk = topk;
        c.topk_length = true;
        c.empty_lists = true;
        c.batch = 12;
        c.sink = true;
        this->expect_every_form(c);
      }
}

}  // namespace
}  // namespace flashmla::backends
