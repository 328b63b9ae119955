// Which calls of sparse decoding have the same bits, on every backend. And contents of memory that
// nobody has checked.
#include <algorithm>
#include <cstdint>
#include <limits>
#include <string_view>
#include <vector>

#include "flashmla/kv_cache.h"
#include "support/sparse_runner.h"
#include "tests/backends/backend_types.h"
#include "tests/backends/sparse_call.h"

namespace flashmla::backends {
namespace {

using support::GuardedTensor;
using support::Random;
using support::SparseCase;

template <class Backend>
class SparseBits : public BackendTest<Backend> {
 protected:
  static constexpr int repeats = std::string_view(Backend::name) == "cuda" ? 1000 : 20;
};

TYPED_TEST_SUITE(SparseBits, BackendTypes, NameOfBackend);

// Lists that are cut and lists that are not, with holes and with a second cache.
std::vector<SparseCase> varied_cases(KvFormat format) {
  std::vector<SparseCase> cases;
  for (const std::int64_t heads : {5, 20, 64, 128}) {
    SparseCase c = sparse_case(format, heads);
    c.batch = 5;
    c.query_tokens = 1;
    c.topk = 1'100;
    c.topk_length = true;
    c.empty_lists = true;
    c.holes = heads % 3 == 2 ? support::Holes::runs : support::Holes::scattered;
    c.sink = true;
    if (heads >= 64) {
      c.extra_topk = 200;
      c.extra_page_size = 7;
      c.extra_pages = 40;
    }
    cases.push_back(c);
  }
  return cases;
}

TYPED_TEST(SparseBits, RepeatsAreBitIdentical) {
  for (const KvFormat format : sparse_formats)
    for (const SparseCase& c : varied_cases(format)) {
      SparseCall call(c, *this->memory_);
      SCOPED_TRACE(describe(c));
      call.schedule();
      call.run();
      const std::vector<std::byte> first = call.results();
      for (int i = 0; i < this->repeats; ++i) {
        call.poison_outputs();
        call.run();
        ASSERT_EQ(call.results(), first) << "repeat " << i;
      }
    }
}

TensorView request_of(TensorView view, std::int64_t request) {
  view.data = static_cast<std::byte*>(view.data) +
              request * view.strides[0] * static_cast<std::int64_t>(size_of(view.dtype));
  view.shape[0] = 1;
  return view;
}

// In batch-invariant mode a request has the same bits alone and in its batch.
TYPED_TEST(SparseBits, ARequestDoesNotDependOnTheOthers) {
  for (const KvFormat format : sparse_formats)
    for (SparseCase c : varied_cases(format)) {
      c.batch_invariant = true;
      c.query_tokens = 2;
      SparseCall call(c, *this->memory_);
      SCOPED_TRACE(describe(c));
      call.schedule();
      call.run();
      const std::vector<std::byte> together = call.results();
      call.poison_outputs();
      SparseCase one = c;
      one.batch = 1;
      Plan plan = make_plan(problem_of(one, this->memory_->device()));
      support::GuardedBuffer plan_memory(*this->memory_, plan.plan_workspace_bytes());
      support::GuardedBuffer run_memory(*this->memory_, plan.run_workspace_bytes());
      plan.schedule({}, {plan_memory.data(), plan_memory.bytes()});
      for (std::int64_t r = 0; r < c.batch; ++r) {
        Inputs inputs = call.tensors.inputs();
        Outputs outputs = call.tensors.outputs();
        for (TensorView* view :
             {&inputs.q, &inputs.indices, &inputs.topk_length, &outputs.out, &outputs.lse})
          *view = request_of(*view, r);
        if (c.extra_topk > 0)
          inputs.extra_indices = request_of(inputs.extra_indices, r);
        run(plan, inputs, outputs, {run_memory.data(), run_memory.bytes()});
      }
      EXPECT_EQ(call.results(), together);
    }
}

// A cache of the dequantised rows of an FP8 cache, which the CPU makes.
GuardedTensor dequantised(const SparseCase& c, support::IndexedCache& part,
                          support::Memory& memory) {
  TensorView bytes = part.cache.view;
  bytes.data = part.cache.buffer.image().data();
  bytes.device = {};
  const Device device = memory.device();
  GuardedTensor plain = support::make_tensor(
      {nullptr, DType::bf16, {part.num_pages, part.page_size, 1, c.qk_dim}, device}, memory);
  TensorView image = plain.view;
  image.data = plain.buffer.image().data();
  image.device = {};
  dequantise(bytes, c.format, image);
  plain.buffer.upload();
  return plain;
}

// A kernel that does not round the values of the cache says so in its name (docs/numerics.md).
bool rounds_cached_values(const Plan& plan) {
  return plan.describe().find("codes") == std::string::npos;
}

TYPED_TEST(SparseBits, BytesGiveTheBitsOfTheirDequantisedRows) {
  for (const KvFormat format : {KvFormat::v32, KvFormat::v4})
    for (SparseCase c : varied_cases(format))
      for (const bool invariant : {false, true}) {
        c.hostile_scales = invariant;
        c.other_scales = !invariant;
        c.batch_invariant = invariant;
        c.max_workers = invariant ? 0 : 1;  // so that both schedules cut alike
        SparseCall call(c, *this->memory_);
        SCOPED_TRACE(describe(c));
        if (!rounds_cached_values(call.plan))
          continue;
        call.schedule();
        call.run();
        const std::vector<std::byte> from_bytes = call.results();
        call.poison_outputs();
        const GuardedTensor main = dequantised(c, call.tensors.main, *this->memory_);
        const GuardedTensor extra = dequantised(c, call.tensors.extra, *this->memory_);
        SparseCase plain = c;
        plain.format = KvFormat::bf16;
        Plan plan = make_plan(problem_of(plain, this->memory_->device()));
        support::GuardedBuffer plan_memory(*this->memory_, plan.plan_workspace_bytes());
        support::GuardedBuffer run_memory(*this->memory_, plan.run_workspace_bytes());
        plan.schedule({}, {plan_memory.data(), plan_memory.bytes()});
        Inputs inputs = call.tensors.inputs();
        inputs.kv_cache = main.view;
        if (c.extra_topk > 0)
          inputs.extra_kv_cache = extra.view;
        run(plan, inputs, call.tensors.outputs(), {run_memory.data(), run_memory.bytes()});
        EXPECT_EQ(call.results(), from_bytes);
      }
}

// A schedule stays valid when list lengths change: the bits are those of a new schedule.
TYPED_TEST(SparseBits, ListLengthsMayChangeBetweenRuns) {
  for (const KvFormat format : sparse_formats)
    for (SparseCase c : varied_cases(format)) {
      c.empty_lists = false;
      SparseCall call(c, *this->memory_);
      SCOPED_TRACE(describe(c));
      call.schedule();
      call.run();
      const std::vector<std::byte> right = call.results();
      auto& lengths = call.tensors.main.lengths.buffer;
      const std::vector<std::byte> before(lengths.image().begin(), lengths.image().end());
      bool changed = false;
      Random random(c.seed);
      for (int i = 0; i < 3; ++i) {
        // Shorter ones: the other entries name rows that are poisoned.
        for (std::int32_t& length : lengths.template image_as<std::int32_t>())
          length = static_cast<std::int32_t>(random.between(0, std::clamp(length, 0, 1'100)));
        lengths.upload();
        call.poison_outputs();
        call.run();
        const std::vector<std::byte> reused = call.results();
        changed |= reused != right;
        call.poison_outputs();
        call.schedule();
        call.run();
        EXPECT_EQ(call.results(), reused);
      }
      EXPECT_TRUE(changed);
      std::ranges::copy(before, lengths.image().begin());
      lengths.upload();
      call.poison_outputs();
      call.run();
      EXPECT_EQ(call.results(), right);
    }
}

// Any integers as indices and list lengths; some name rows of NaN. Nothing but the results is
// written. That nothing outside of the caches is read, a sanitizer would see.
TYPED_TEST(SparseBits, HostileIndicesAndLengths) {
  const std::uint64_t seed = support::fresh_seed();
  SCOPED_TRACE(::testing::Message() << "seed " << seed);
  Random random(seed);
  constexpr std::int32_t least = std::numeric_limits<std::int32_t>::min();
  constexpr std::int32_t most = std::numeric_limits<std::int32_t>::max();
  const auto fill = [&](GuardedTensor& tensor, std::int64_t edge) {
    const auto at = static_cast<std::int32_t>(edge);
    for (std::int32_t& number : tensor.buffer.template image_as<std::int32_t>())
      number = random.chance(0.3)
                   ? static_cast<std::int32_t>(static_cast<std::uint32_t>(random.next()))
                   : random.pick({-1, least, most, at, at - 1, at + 1, -at, 0, least + 1});
    tensor.buffer.upload();
  };
  for (const KvFormat format : sparse_formats)
    for (SparseCase c : varied_cases(format)) {
      c.extra_topk = 33;
      c.extra_page_size = 3;
      c.extra_pages = 4;
      c.extra_topk_length = true;
      SparseCall call(c, *this->memory_);
      SCOPED_TRACE(describe(c));
      for (support::IndexedCache* part : {&call.tensors.main, &call.tensors.extra}) {
        fill(part->indices, part->capacity());
        fill(part->lengths, part->topk);
      }
      call.schedule();
      call.run();
      const std::vector<std::byte> results = call.results();
      EXPECT_TRUE(call.guards_unchanged());
      EXPECT_TRUE(call.tensors.main.cache.buffer.unchanged());
      EXPECT_TRUE(call.tensors.extra.cache.buffer.unchanged());
      call.poison_outputs();
      call.run();
      EXPECT_EQ(call.results(), results);
    }
}

}  // namespace
}  // namespace flashmla::backends
