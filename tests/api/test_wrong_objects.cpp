// Every tensor of every function given in every wrong way, through C++ and through C: what is not
// served is refused with an error that names a parameter of that function, says what was given and
// what is wanted, and has written nothing.
#include <gtest/gtest.h>

#include <cstring>
#include <functional>
#include <limits>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "as_c.h"
#include "core/text.h"
#include "expect_rejected.h"
#include "small_call.h"
#include "sparse_call.h"

namespace flashmla::tests {
namespace {

constexpr std::int64_t most = std::numeric_limits<std::int64_t>::max();

// A function with a sound call of it, whose tensors can be replaced.
struct Subject {
  std::string name;
  std::vector<std::pair<std::string, TensorView*>> tensors;  // by the name of their parameter
  std::vector<std::span<std::byte>> written;
  std::function<void()> cpp;
  std::function<flashmla_status()> c;

  bool has(const std::string& argument) const {
    return std::ranges::any_of(tensors,
                               [&](const auto& tensor) { return tensor.first == argument; });
  }
  std::vector<std::byte> memory() const {
    std::vector<std::byte> bytes;
    for (const std::span<std::byte> part : written)
      bytes.insert(bytes.end(), part.begin(), part.end());
    return bytes;
  }
};

struct Spoil {
  std::string what;
  std::function<void(TensorView&)> apply;
  bool always_wrong;  // and the spoiled tensor's fault
};

// Sizes only shrink, so that a call that accepts them stays inside of its memory.
std::vector<Spoil> spoils_of(const TensorView& sound) {
  std::vector<Spoil> spoils = {
      {"no tensor", [](TensorView& view) { view = {}; }, false},
      {"a null pointer", [](TensorView& view) { view.data = nullptr; }, true},
      {"one dimension less", [](TensorView& view) { --view.rank; }, sound.rank > 1},
      {"one dimension more", [](TensorView& view) { ++view.rank; }, true},
      {"device type 7", [](TensorView& view) { view.device.type = static_cast<DeviceType>(7); },
       true},
      {"cuda:3", [](TensorView& view) { view.device = {DeviceType::cuda, 3}; }, false},
      {"cpu:-1", [](TensorView& view) { view.device.index = -1; }, true},
      {"cpu:1", [](TensorView& view) { view.device.index = 1; }, false}};
  for (const std::int32_t rank : {-1, 6, 9, std::numeric_limits<std::int32_t>::max()})
    spoils.push_back({text("rank ", rank), [rank](TensorView& view) { view.rank = rank; }, true});
  for (int type = -1; type <= 8; ++type)
    if (static_cast<DType>(type) != sound.dtype)
      spoils.push_back({text("dtype ", type),
                        [type](TensorView& view) { view.dtype = static_cast<DType>(type); },
                        type < 0 || type == 8});
  if (size_of(sound.dtype) > 1)
    spoils.push_back({"a misaligned pointer",
                      [](TensorView& view) { view.data = static_cast<std::byte*>(view.data) + 1; },
                      true});
  for (std::size_t d = 0; d < static_cast<std::size_t>(sound.rank); ++d) {
    for (const std::int64_t size : {sound.shape[d] - 1, std::int64_t{0}, std::int64_t{-1}, -most})
      spoils.push_back({text("size ", size, " of dimension ", d),
                        [d, size](TensorView& view) { view.shape[d] = size; }, size < 0});
    for (const std::int64_t size : {most, most / 2})
      spoils.push_back({text("size ", size, " of dimension ", d),
                        [d, size](TensorView& view) { view.shape[d] = size; }, true});
    for (const std::int64_t stride : {std::int64_t{-1}, -most, most})
      spoils.push_back({text("stride ", stride, " of dimension ", d),
                        [d, stride](TensorView& view) { view.strides[d] = stride; },
                        stride < 0 || sound.shape[d] > 2});
  }
  return spoils;
}

void expect_a_name(const Subject& subject, const std::string& own, bool exact,
                   const std::string& argument, const std::string& given,
                   const std::string& wanted) {
  if (exact)
    EXPECT_EQ(argument, own);
  else
    EXPECT_TRUE(subject.has(argument)) << argument;
  EXPECT_NE(given, "");
  EXPECT_NE(wanted, "");
}

// Whether the call is served; where it is not, the error is looked at.
bool served_in_cpp(const Subject& subject, const std::string& own, bool exact,
                   std::string& argument) {
  try {
    subject.cpp();
    return true;
  } catch (const Error& error) {
    EXPECT_NE(error.code(), ErrorCode::device_failure);
    argument = error.argument();
    expect_a_name(subject, own, exact, argument, error.given(), error.wanted());
  } catch (const std::exception& error) {
    ADD_FAILURE() << "another exception: " << error.what();
  }
  return false;
}

void sweep(const Subject& subject) {
  ASSERT_NO_THROW(subject.cpp()) << subject.name;
  ASSERT_EQ(subject.c(), FLASHMLA_OK) << subject.name << ": " << flashmla_last_error();
  int refused = 0;
  for (const auto& [name, view] : subject.tensors) {
    const TensorView sound = *view;
    for (const Spoil& spoil : spoils_of(sound)) {
      SCOPED_TRACE(text(subject.name, ": ", name, " given ", spoil.what));
      spoil.apply(*view);
      const std::vector<std::byte> before = subject.memory();
      std::string argument;
      const bool served = served_in_cpp(subject, name, spoil.always_wrong, argument);
      const flashmla_status status = subject.c();
      EXPECT_EQ(status == FLASHMLA_OK, served) << flashmla_last_error();
      if (served) {
        EXPECT_FALSE(spoil.always_wrong);
      } else {
        ++refused;
        EXPECT_EQ(flashmla_last_error_argument(), in_c(argument)) << flashmla_last_error();
        EXPECT_STRNE(flashmla_last_error_given(), "");
        EXPECT_STRNE(flashmla_last_error_wanted(), "");
        EXPECT_EQ(subject.memory(), before) << "written in spite of the error";
      }
      *view = sound;
    }
  }
  EXPECT_GT(refused, 20 * static_cast<int>(subject.tensors.size())) << subject.name;
  EXPECT_NO_THROW(subject.cpp());
}

template <class T>
std::span<std::byte> bytes_of(std::vector<T>& values) {
  return std::as_writable_bytes(std::span(values));
}

// run() of a planned call; also schedule(), for which the lengths are spoiled.
template <class Call>
void sweep_run(Call& call, TensorView lengths,
               std::vector<std::pair<std::string, TensorView*>> tensors) {
  Plan plan = make_plan(call.problem);
  const CPlan c_plan(call.problem);
  const AlignedBytes plan_memory(plan.plan_workspace_bytes());
  const AlignedBytes run_memory(plan.run_workspace_bytes());
  plan.schedule(lengths, plan_memory.workspace());
  ASSERT_EQ(c_plan.schedule(lengths, plan_memory.workspace()), FLASHMLA_OK);
  sweep({.name = std::string(name_of(call.problem.kind)),
         .tensors = std::move(tensors),
         .written = {bytes_of(call.out), bytes_of(call.lse)},
         .cpp = [&] { run(plan, call.inputs, call.outputs, run_memory.workspace()); },
         .c = [&] { return c_plan.run(call.inputs, call.outputs, run_memory.workspace()); }});
}

TEST(WrongObjects, OfRunInDenseDecoding) {
  SmallCall call;
  sweep_run(call, call.lengths,
            {{"q", &call.inputs.q},
             {"kv_cache", &call.inputs.kv_cache},
             {"block_table", &call.inputs.block_table},
             {"attn_sink", &call.inputs.attn_sink},
             {"out", &call.outputs.out},
             {"lse", &call.outputs.lse}});
}

TEST(WrongObjects, OfRunInSparseDecoding) {
  SparseCall call;
  sweep_run(call, {},
            {{"q", &call.inputs.q},
             {"kv_cache", &call.inputs.kv_cache},
             {"indices", &call.inputs.indices},
             {"topk_length", &call.inputs.topk_length},
             {"extra_kv_cache", &call.inputs.extra_kv_cache},
             {"extra_indices", &call.inputs.extra_indices},
             {"extra_topk_length", &call.inputs.extra_topk_length},
             {"attn_sink", &call.inputs.attn_sink},
             {"out", &call.outputs.out},
             {"lse", &call.outputs.lse}});
}

TEST(WrongObjects, OfRunInSparsePrefill) {
  SparseCall call(AttentionKind::sparse_prefill);
  sweep_run(call, {},
            {{"q", &call.inputs.q},
             {"kv_cache", &call.inputs.kv_cache},
             {"indices", &call.inputs.indices},
             {"topk_length", &call.inputs.topk_length},
             {"attn_sink", &call.inputs.attn_sink},
             {"out", &call.outputs.out},
             {"lse", &call.outputs.lse},
             {"max_logits", &call.outputs.max_logits}});
}

TEST(WrongObjects, OfSchedule) {
  SmallCall call;
  Plan plan = make_plan(call.problem);
  const CPlan c_plan(call.problem);
  const AlignedBytes memory(plan.plan_workspace_bytes());
  const auto* bytes = static_cast<std::byte*>(memory.workspace().data);
  sweep({.name = "schedule",
         .tensors = {{"lengths", &call.lengths}},
         .written = {{const_cast<std::byte*>(bytes), memory.workspace().bytes}},
         .cpp = [&] { plan.schedule(call.lengths, memory.workspace()); },
         .c = [&] { return c_plan.schedule(call.lengths, memory.workspace()); }});
}

// Numbers enough for the largest type that a tensor may be taken for.
struct CacheCall {
  KvFormat format;
  std::int64_t dim = format == KvFormat::v4 ? 512 : 576;
  std::vector<std::uint64_t> cache = std::vector<std::uint64_t>(2 * 4 * 576, 0x38);
  std::vector<std::uint64_t> rows = std::vector<std::uint64_t>(8 * 576, 0x3f80);
  std::vector<std::uint64_t> slots = {3, 0, 7};
  TensorView cache_view{cache.data(), cache_dtype(format), {2, 4, 1, token_elements(format, dim)}};
  TensorView rows_view{rows.data(), DType::bf16, {3, 1, dim}};
  TensorView plain_view{rows.data(), DType::bf16, {2, 4, 1, dim}};
  TensorView slots_view{slots.data(), DType::i64, {3}};
};

class WrongCacheObjects : public testing::TestWithParam<KvFormat> {
 protected:
  CacheCall call_{GetParam()};
  std::int32_t format_ = static_cast<std::int32_t>(GetParam());
};

TEST_P(WrongCacheObjects, OfAppendAndGather) {
  Subject subject{
      .name = "append",
      .tensors = {{"cache", &call_.cache_view},
                  {"rows", &call_.rows_view},
                  {"slots", &call_.slots_view}},
      .written = {bytes_of(call_.cache), bytes_of(call_.rows)},
      .cpp = [&] { append(call_.cache_view, call_.format, call_.rows_view, call_.slots_view); },
      .c =
          [&] {
            CTensors c;
            return flashmla_append(c(call_.cache_view), format_, c(call_.rows_view),
                                   c(call_.slots_view), nullptr);
          }};
  sweep(subject);
  subject.name = "gather";
  subject.cpp = [&] { gather(call_.cache_view, call_.format, call_.slots_view, call_.rows_view); };
  subject.c = [&] {
    CTensors c;
    return flashmla_gather(c(call_.cache_view), format_, c(call_.slots_view), c(call_.rows_view),
                           nullptr);
  };
  sweep(subject);
}

TEST_P(WrongCacheObjects, OfQuantiseAndDequantise) {
  Subject subject{.name = "quantise",
                  .tensors = {{"cache", &call_.cache_view}, {"plain", &call_.plain_view}},
                  .written = {bytes_of(call_.cache), bytes_of(call_.rows)},
                  .cpp = [&] { quantise(call_.plain_view, call_.cache_view, call_.format); },
                  .c =
                      [&] {
                        CTensors c;
                        return flashmla_quantise(c(call_.plain_view), c(call_.cache_view), format_,
                                                 nullptr);
                      }};
  sweep(subject);
  subject.name = "dequantise";
  subject.cpp = [&] { dequantise(call_.cache_view, call_.format, call_.plain_view); };
  subject.c = [&] {
    CTensors c;
    return flashmla_dequantise(c(call_.cache_view), format_, c(call_.plain_view), nullptr);
  };
  sweep(subject);
}

INSTANTIATE_TEST_SUITE_P(Formats, WrongCacheObjects,
                         testing::Values(KvFormat::bf16, KvFormat::v32, KvFormat::v4));

TEST(WrongObjects, OfMerge) {
  std::vector<float> a(2 * 3 * 4 * 16, 1.0f), b = a, out = a, lse_a(24, 0.5f), lse_b = lse_a,
                                              lse = lse_a, sink(4, 0.0f);
  std::vector<PartialResult> parts = {
      {{a.data(), DType::fp32, {2, 3, 4, 16}}, {lse_a.data(), DType::fp32, {2, 4, 3}}},
      {{b.data(), DType::bf16, {2, 3, 4, 16}}, {lse_b.data(), DType::fp32, {2, 4, 3}}}};
  TensorView sink_view(sink.data(), DType::fp32, {4});
  Outputs outputs{.out = {out.data(), DType::fp16, {2, 3, 4, 16}},
                  .lse = {lse.data(), DType::fp32, {2, 4, 3}}};
  sweep({.name = "merge",
         .tensors = {{"parts[0].out", &parts[0].out},
                     {"parts[0].lse", &parts[0].lse},
                     {"parts[1].out", &parts[1].out},
                     {"parts[1].lse", &parts[1].lse},
                     {"attn_sink", &sink_view},
                     {"out", &outputs.out},
                     {"lse", &outputs.lse}},
         .written = {bytes_of(out), bytes_of(lse)},
         .cpp = [&] { merge(parts, sink_view, outputs); },
         .c =
             [&] {
               CTensors c;
               const flashmla_tensor* const outs[] = {c(parts[0].out), c(parts[1].out)};
               const flashmla_tensor* const lses[] = {c(parts[0].lse), c(parts[1].lse)};
               const flashmla_outputs merged = c(outputs);
               return flashmla_merge(outs, lses, 2, c(sink_view), &merged, nullptr);
             }});
}

// Every number of a problem far out of its range, in every kind of call.
TEST(WrongObjects, NumbersOfProblems) {
  const std::pair<const char*, std::int64_t Problem::*> numbers[] = {
      {"batch", &Problem::batch},
      {"query_tokens", &Problem::query_tokens},
      {"query_heads", &Problem::query_heads},
      {"kv_heads", &Problem::kv_heads},
      {"qk_dim", &Problem::qk_dim},
      {"v_dim", &Problem::v_dim},
      {"page_size", &Problem::page_size},
      {"max_blocks", &Problem::max_blocks},
      {"topk", &Problem::topk},
      {"extra_topk", &Problem::extra_topk},
      {"extra_page_size", &Problem::extra_page_size}};
  const Problem problems[] = {SmallCall().problem, SparseCall().problem,
                              SparseCall(AttentionKind::sparse_prefill).problem};
  for (const Problem& sound : problems)
    for (const auto& [name, member] : numbers)
      for (const std::int64_t value :
           {std::int64_t{-1}, -most - 1, most, std::int64_t{1} << 31, std::int64_t{1} << 32}) {
        SCOPED_TRACE(text(name_of(sound.kind), " of ", name, " ", value));
        Problem problem = sound;
        problem.*member = value;
        expect_rejected([&] { make_plan(problem); }, name, std::to_string(value));
        expect_rejected([&] { (void)refusal("cpu", problem); }, name, std::to_string(value));
        const flashmla_problem c = c_problem(problem);
        flashmla_plan* plan = nullptr;
        expect_c_rejected(flashmla_plan_create(&c, &plan), name, std::to_string(value));
        EXPECT_EQ(plan, nullptr);
        expect_c_rejected(flashmla_refusal("cpu", &c, nullptr, 0, nullptr), name,
                          std::to_string(value));
      }
}

TEST(WrongObjects, EnumeratorsAndSwitchesOfProblems) {
  const std::pair<const char*, std::int32_t flashmla_problem::*> fields[] = {
      {"kind", &flashmla_problem::kind},
      {"device_type", &flashmla_problem::device_type},
      {"device_index", &flashmla_problem::device_index},
      {"query_type", &flashmla_problem::query_type},
      {"kv_format", &flashmla_problem::kv_format},
      {"max_workers", &flashmla_problem::max_workers},
      {"causal", &flashmla_problem::causal},
      {"ragged_queries", &flashmla_problem::ragged_queries},
      {"split_query", &flashmla_problem::split_query},
      {"scaled_cache", &flashmla_problem::scaled_cache},
      {"batch_invariant", &flashmla_problem::batch_invariant},
      {"reserved", &flashmla_problem::reserved}};
  for (const auto& [name, member] : fields)
    for (const std::int32_t value : {-1, 70000, std::numeric_limits<std::int32_t>::min()}) {
      flashmla_problem problem = c_problem(SmallCall().problem);
      problem.*member = value;
      flashmla_plan* plan = nullptr;
      expect_c_rejected(flashmla_plan_create(&problem, &plan), name, std::to_string(value));
    }
}

TEST(WrongObjects, WorkspacesOfC) {
  SmallCall call;
  const CPlan plan(call.problem);
  std::size_t plan_bytes = 0;
  std::size_t run_bytes = 0;
  ASSERT_EQ(flashmla_plan_workspace_bytes(plan.get(), &plan_bytes, &run_bytes), FLASHMLA_OK);
  const AlignedBytes plan_memory(plan_bytes);
  const AlignedBytes run_memory(run_bytes);
  const auto expect_each_wrong = [](const AlignedBytes& memory, auto call_with) {
    const Workspace sound = memory.workspace();
    auto* const askew = static_cast<std::byte*>(sound.data) + 8;
    expect_c_rejected(call_with({nullptr, sound.bytes}), "workspace", "null");
    expect_c_rejected(call_with({askew, sound.bytes}), "workspace", "misaligned");
    expect_c_rejected(call_with({sound.data, sound.bytes - 1}), "workspace", "bytes");
    expect_c_rejected(call_with({sound.data, 0}), "workspace", "0 bytes");
    EXPECT_EQ(call_with(sound), FLASHMLA_OK);
  };
  expect_each_wrong(plan_memory,
                    [&](Workspace workspace) { return plan.schedule(call.lengths, workspace); });
  expect_each_wrong(plan_memory, [&](Workspace workspace) {
    return flashmla_plan_attach(plan.get(), workspace.data, workspace.bytes);
  });
  expect_each_wrong(run_memory, [&](Workspace workspace) {
    return plan.run(call.inputs, call.outputs, workspace);
  });
}

TEST(WrongObjects, PlansThatWereMovedFrom) {
  SmallCall call;
  Plan plan = make_plan(call.problem);
  const AlignedBytes memory(plan.plan_workspace_bytes());
  const Plan taken = std::move(plan);
  EXPECT_FALSE(taken.scheduled());
  // NOLINTBEGIN(bugprone-use-after-move): what it is about
  const std::function<void()> calls[] = {
      [&] { (void)plan.problem(); },
      [&] { (void)plan.backend(); },
      [&] { (void)plan.plan_workspace_bytes(); },
      [&] { (void)plan.run_workspace_bytes(); },
      [&] { plan.schedule(call.lengths, memory.workspace()); },
      [&] { plan.attach(memory.workspace()); },
      [&] { (void)plan.scheduled(); },
      [&] { (void)plan.view(); },
      [&] { (void)plan.status(); },
      [&] { (void)plan.describe(); },
      [&] { run(plan, call.inputs, call.outputs, memory.workspace()); }};
  // NOLINTEND(bugprone-use-after-move)
  for (const auto& each : calls)
    expect_rejected(each, "plan", "moved from");
}

TEST(WrongObjects, OfTheOtherFunctions) {
  std::int64_t bytes = 0;
  expect_c_rejected(flashmla_token_bytes(-1, 576, &bytes), "kv_format", "-1");
  expect_c_rejected(flashmla_token_bytes(FLASHMLA_KV_BF16, -1, &bytes), "qk_dim", "-1");
  expect_c_rejected(flashmla_token_bytes(FLASHMLA_KV_BF16, most, &bytes), "qk_dim",
                    std::to_string(most));
  expect_c_rejected(flashmla_token_bytes(FLASHMLA_KV_BF16, 576, nullptr), "bytes", "null");
  for (const int threads : {-1, std::numeric_limits<int>::min(), std::numeric_limits<int>::max()}) {
    expect_rejected([&] { set_cpu_threads(threads); }, "threads", std::to_string(threads));
    expect_c_rejected(flashmla_set_cpu_threads(threads), "threads", std::to_string(threads));
  }
  expect_rejected([] { (void)refusal("", SmallCall().problem); }, "backend", "\"\"");
  for (const std::int32_t index : {-1, std::numeric_limits<std::int32_t>::max()}) {
    std::int32_t count = 0;
    const std::string given = std::to_string(index);
    expect_c_rejected(flashmla_backend_name(index, nullptr, 0, nullptr), "backend", given);
    expect_c_rejected(flashmla_backend_unavailable(index, nullptr, 0, nullptr), "backend", given);
    expect_c_rejected(flashmla_backend_device_count(index, &count), "backend", given);
    expect_c_rejected(flashmla_backend_device(index, 0, nullptr, 0, nullptr), "backend", given);
  }
}

// A view whose rank is none is described without a look at dimensions that it has not.
TEST(WrongObjects, ViewsOfImpossibleRankAreDescribed) {
  TensorView view(nullptr, DType::bf16, {2, 3});
  for (const std::int32_t rank : {-1, 6, std::numeric_limits<std::int32_t>::max()}) {
    view.rank = rank;
    EXPECT_THAT(describe(view), testing::HasSubstr(std::to_string(rank)));
    EXPECT_LE(view.element_count(), 6);
  }
}

}  // namespace
}  // namespace flashmla::tests
