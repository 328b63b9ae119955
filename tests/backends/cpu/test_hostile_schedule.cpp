// A caller can hand over the memory of a schedule. attach() refuses a schedule that does not follow
// from its lengths. The memory may be overwritten after attach(). Whatever it holds when a call
// runs, nothing outside the tensors and workspaces is read or written. AddressSanitizer sees such
// reads, because inputs end where their memory ends. Guards see such writes without it.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <limits>
#include <span>
#include <string>
#include <vector>

#include "flashmla/flashmla.h"
#include "schedule/plan_layout.h"
#include "support/guarded_tensor.h"
#include "support/random.h"

namespace flashmla::backends::cpu {
namespace {

using support::GuardedBuffer;
using support::GuardedTensor;
using support::Random;

enum class Kind { dense, pieces, one_worker, sparse, prefill };

// A small call of one of these kinds. Some of its requests are cut.
class Call {
 public:
  Call(Kind kind, Random& random) : random_(random) {
    problem_.query_heads = 3;
    problem_.query_tokens = 2;
    if (kind == Kind::sparse || kind == Kind::prefill)
      make_sparse(kind == Kind::prefill);
    else
      make_dense(kind);
    for (GuardedTensor* tensor : {&out_, &lse_, &max_logits_})
      tensor->buffer.upload();
  }

  const Problem& problem() const { return problem_; }
  const TensorView& lengths() const { return length_view_; }
  std::int64_t requests() const {  // of the schedule
    return problem_.kind == AttentionKind::dense_decode ? 5 : 4;
  }

  void run(const Plan& plan, GuardedBuffer& workspace) {
    Outputs outputs{out_.view, lse_.view, {}};
    if (problem_.kind == AttentionKind::sparse_prefill)
      outputs.max_logits = max_logits_.view;
    flashmla::run(plan, inputs_, outputs, {workspace.data(), workspace.bytes()});
  }

  bool guards_unchanged() const {
    return out_.buffer.guards_unchanged() && lse_.buffer.guards_unchanged() &&
           max_logits_.buffer.guards_unchanged();
  }

 private:
  void make_dense(Kind kind) {
    problem_.batch = 5;
    problem_.page_size = 16;
    problem_.max_pages = 50;
    problem_.causal = random_.chance(0.5);
    problem_.batch_invariant = kind == Kind::pieces;
    problem_.max_workers = kind == Kind::one_worker ? 1 : 0;
    lengths_ = {700, 0, 64, 800, 0};
    fill(q_, 5 * 2 * 3 * 576);
    fill(cache_, 20 * 16 * 576);
    for (int i = 0; i < 5 * 50; ++i)
      numbers_.push_back(static_cast<std::int32_t>(random_.between(0, 19)));
    inputs_.q = {q_.data(), DType::bf16, {5, 2, 3, 576}};
    inputs_.kv_cache = {cache_.data(), DType::bf16, {20, 16, 1, 576}};
    inputs_.block_table = {numbers_.data(), DType::i32, {5, 50}};
    length_view_ = {lengths_.data(), DType::i32, {5}};
    out_ = make({nullptr, DType::bf16, {5, 2, 3, 512}});
    lse_ = make({nullptr, DType::fp32, {5, 3, 2}});
  }

  void make_sparse(bool prefill) {
    problem_.kind = prefill ? AttentionKind::sparse_prefill : AttentionKind::sparse_decode;
    problem_.batch = prefill ? 1 : 2;
    problem_.query_tokens = prefill ? 4 : 2;
    problem_.page_size = prefill ? 64 : 16;
    problem_.topk = 200;
    fill(q_, 4 * 3 * 576);
    fill(cache_, 80 * 576);
    for (int i = 0; i < 4 * 200; ++i)
      numbers_.push_back(static_cast<std::int32_t>(random_.between(-1, 80)));
    if (prefill) {
      inputs_.q = {q_.data(), DType::bf16, {4, 3, 576}};
      inputs_.kv_cache = {cache_.data(), DType::bf16, {80, 1, 576}};
      inputs_.indices = {numbers_.data(), DType::i32, {4, 1, 200}};
      out_ = make({nullptr, DType::bf16, {4, 3, 512}});
      lse_ = make({nullptr, DType::fp32, {4, 3}});
    } else {
      inputs_.q = {q_.data(), DType::bf16, {2, 2, 3, 576}};
      inputs_.kv_cache = {cache_.data(), DType::bf16, {5, 16, 1, 576}};
      inputs_.indices = {numbers_.data(), DType::i32, {2, 2, 200}};
      out_ = make({nullptr, DType::bf16, {2, 2, 3, 512}});
      lse_ = make({nullptr, DType::fp32, {2, 3, 2}});
    }
  }

  void fill(std::vector<std::uint16_t>& values, std::size_t count) {
    values.resize(count);
    support::write_row(DType::bf16, random_.next(), values);
  }
  GuardedTensor make(const TensorView& view) { return make_tensor(view, memory_); }

  Random& random_;
  support::HostMemory memory_;
  Problem problem_;
  Inputs inputs_;
  TensorView length_view_;
  std::vector<std::int32_t> lengths_;
  std::vector<std::uint16_t> q_;
  std::vector<std::uint16_t> cache_;
  std::vector<std::int32_t> numbers_;  // pages or indices
  GuardedTensor out_ = make({nullptr, DType::bf16, {1}});
  GuardedTensor lse_ = out_;
  GuardedTensor max_logits_ = make({nullptr, DType::fp32, {4, 3}});
};

class HostileSchedule : public testing::TestWithParam<Kind> {
 protected:
  // A number that leads outside the buffers where it is not checked.
  std::int32_t number() {
    constexpr std::int32_t min_value = std::numeric_limits<std::int32_t>::min();
    constexpr std::int32_t max_value = std::numeric_limits<std::int32_t>::max();
    if (random_.chance(0.3))
      return static_cast<std::int32_t>(random_.next());
    if (random_.chance(0.5))
      return static_cast<std::int32_t>(random_.between(-3, 300));
    return random_.pick(
        {-1, min_value, max_value, min_value + 1, max_value - 1, 1 << 20, -(1 << 20)});
  }

  static std::span<std::int32_t> words(const GuardedBuffer& workspace) {
    return {reinterpret_cast<std::int32_t*>(workspace.data()), workspace.bytes() / 4};
  }

  const std::uint64_t seed_ = support::fresh_seed();
  const testing::ScopedTrace trace_{__FILE__, __LINE__, testing::Message() << "seed " << seed_};
  Random random_{seed_};
  support::HostMemory memory_;
};

TEST_P(HostileSchedule, IsRefused) {
  Call call(GetParam(), random_);
  Plan plan = make_plan(call.problem());
  Plan other = make_plan(call.problem());
  GuardedBuffer workspace(memory_, plan.plan_workspace_bytes());
  plan.schedule(call.lengths(), {workspace.data(), workspace.bytes()});
  const auto attach = [&] { other.attach({workspace.data(), workspace.bytes()}); };
  const auto expect_refused = [&](const std::string& what) {
    try {
      attach();
      ADD_FAILURE() << what << " was taken";
    } catch (const Error& error) {
      EXPECT_EQ(error.argument(), "plan_workspace") << error.what();
    }
    EXPECT_FALSE(other.scheduled());
  };
  const ScheduleView view = plan.view();
  const std::span<std::int32_t> work{
      reinterpret_cast<std::int32_t*>(const_cast<WorkRow*>(view.work)),
      8 * static_cast<std::size_t>(view.workers)};
  const std::span<std::int32_t> split_offset{const_cast<std::int32_t*>(view.split_offset),
                                             static_cast<std::size_t>(call.requests()) + 1};
  for (const std::span<std::int32_t> part : {work, split_offset})
    for (std::size_t i = 0; i < part.size(); i += 1 + part.size() / 300) {
      const std::int32_t kept = part[i];
      while (part[i] == kept)
        part[i] = number();
      expect_refused(std::to_string(part[i]) + " for number " + std::to_string(i));
      part[i] = kept;
    }
  for (const std::int32_t bad : {-1, 1 << 20, std::numeric_limits<std::int32_t>::min()}) {
    auto& length = const_cast<std::int32_t&>(view.lengths[0]);
    for (std::int32_t* const place : {&length, view.status}) {
      const std::int32_t kept = *place;
      *place = bad;
      expect_refused("a length or status of " + std::to_string(bad));
      *place = kept;
    }
  }
  attach();
  EXPECT_TRUE(other.scheduled());
}

TEST_P(HostileSchedule, OfRandomBytesIsRefused) {
  Call call(GetParam(), random_);
  Plan plan = make_plan(call.problem());
  GuardedBuffer workspace(memory_, plan.plan_workspace_bytes());
  for (int round = 0; round < 300; ++round) {
    for (std::int32_t& word : words(workspace))
      word = round % 2 == 0 ? static_cast<std::int32_t>(random_.next()) : number();
    EXPECT_THROW(plan.attach({workspace.data(), workspace.bytes()}), Error);
    EXPECT_FALSE(plan.scheduled());
  }
}

TEST_P(HostileSchedule, LeadsNowhereWhenItIsRun) {
  for (int round = 0; round < 40; ++round) {
    Call call(GetParam(), random_);
    Plan plan = make_plan(call.problem());
    GuardedBuffer workspace(memory_, plan.plan_workspace_bytes());
    GuardedBuffer run_workspace(memory_, plan.run_workspace_bytes());
    for (GuardedBuffer* buffer : {&workspace, &run_workspace})
      buffer->upload();
    plan.schedule(call.lengths(), {workspace.data(), workspace.bytes()});
    const std::span<std::int32_t> all = words(workspace);
    if (round % 3 == 0) {
      std::ranges::generate(all, [&] { return number(); });
    } else {
      // One of the arrays that a run reads. The last arrays are scratch.
      const auto end = static_cast<std::int64_t>(all.size()) / 2;
      for (std::int64_t i = random_.between(1, 40); i > 0; --i)
        all[random_.between(0, end)] = number();
    }
    call.run(plan, run_workspace);
    ASSERT_TRUE(call.guards_unchanged()) << "round " << round;
    ASSERT_TRUE(run_workspace.guards_unchanged()) << "round " << round;
    ASSERT_TRUE(workspace.guards_unchanged()) << "round " << round;
  }
}

std::string name_of_kind(const testing::TestParamInfo<Kind>& kind) {
  constexpr const char* names[] = {"Dense", "Pieces", "OneWorker", "Sparse", "Prefill"};
  return names[static_cast<int>(kind.param)];
}

INSTANTIATE_TEST_SUITE_P(Kinds, HostileSchedule,
                         testing::Values(Kind::dense, Kind::pieces, Kind::one_worker, Kind::sparse,
                                         Kind::prefill),
                         name_of_kind);

}  // namespace
}  // namespace flashmla::backends::cpu
