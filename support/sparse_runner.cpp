#include "support/sparse_runner.h"

#include <algorithm>
#include <cmath>
#include <set>

#include "flashmla/plan.h"
#include "support/guarded_workspaces.h"
#include "support/judge.h"
#include "support/numeric.h"
#include "support/random.h"

namespace flashmla::support {

namespace {

constexpr std::int64_t oracle_row_entries = 131'072;
// The oracle checks so many query tokens of a larger case, of very long lists fewer, and so many
// heads of each of these.
constexpr std::int64_t oracle_tokens = 8;
constexpr std::int64_t oracle_heads = 8;
constexpr std::int64_t oracle_entries = 32'768;  // of all these query tokens

// No number of `out` can be larger: it is an average of numbers below 3.47, which e4m3 may round up
// by a sixteenth.
constexpr float largest_output = 3.75f;

// What the comparison with the oracle finds.
CaseResult compared(SparseTensors& tensors, const Results& results, const CaseResult& found,
                    CachedValues values) {
  const SparseCase& c = tensors.sparse_case;
  const std::vector<RowIndex> rows = rows_to_check(c);
  const auto groups = group_rows(rows, rows.size(), [](const RowIndex& first, const RowIndex& row) {
    return row.request == first.request && row.query_token == first.query_token;
  });
  const Statistic max_logits(tensors.max_logits);
  const bool rounded = tensors.q.view.device.type == DeviceType::cuda;
  const auto judge = [&](RowGroup group, Comparison& comparison, PooledError& pool) {
    const std::vector<Reference> references = reference_of(tensors, group, values);
    // Tokens that are listed twice have weights that are rounded alike, and average over nothing.
    const std::int64_t tokens = tensors.different_tokens(group[0].request, group[0].query_token);
    for (std::size_t i = 0; i < group.size(); ++i) {
      const std::vector<float> out = results.out(group[i]);
      comparison.add_row(out, results.lse(group[i]), references[i], tokens);
      pool.add_row(DType::bf16, out, references[i], tokens);
      if (c.prefill() && c.max_logits)
        comparison.add_max_logit(max_logits.at(group[i]), references[i], tokens);
    }
  };
  CaseResult result = found;
  judge_groups(
      groups, DType::bf16,
      Comparison(DType::bf16, !c.softmax_scale.has_value(), c.kind,
                 rounded ? Comparison::rounded_weights : Comparison::exact_weights),
      judge, [&](const RowIndex& row) { return row.request * c.query_tokens + row.query_token; },
      result);
  return result;
}

// Whether values of the cache that are not rounded differ from those that are. Scales that the
// library writes are powers of two, with which nothing is rounded.
bool rounding_matters(const SparseCase& c) {
  return c.format == KvFormat::v32 && (c.other_scales || c.hostile_scales);
}

// Kernels of a GPU may compute with values that are not rounded. The results are compared with
// both, and what the whole tensor is nearer to counts.
void check_against_oracle(SparseTensors& tensors, const Results& results, CaseResult& result) {
  CaseResult nearer = compared(tensors, results, result, CachedValues::rounded);
  if (tensors.q.view.device.type == DeviceType::cuda && rounding_matters(tensors.sparse_case)) {
    CaseResult exact = compared(tensors, results, result, CachedValues::exact);
    if (exact.errors.worst() < nearer.errors.worst())
      nearer = std::move(exact);
  }
  result = std::move(nearer);
}

void check_memory(SparseTensors& tensors, const Results& results, CaseResult& result) {
  const NamedFault inputs[] = {{"q was written to", &tensors.q},
                               {"kv_cache was written to", &tensors.main.cache},
                               {"indices were written to", &tensors.main.indices},
                               {"topk_length was written to", &tensors.main.lengths},
                               {"extra_kv_cache was written to", &tensors.extra.cache},
                               {"extra_indices were written to", &tensors.extra.indices},
                               {"extra_topk_length was written to", &tensors.extra.lengths},
                               {"attn_sink was written to", &tensors.attn_sink}};
  const NamedFault outputs[] = {{"memory around out was written to", &tensors.out},
                                {"memory around lse was written to", &tensors.lse},
                                {"memory around max_logits was written to", &tensors.max_logits}};
  const NamedFault unasked[] = {{"max_logits was written to unasked", &tensors.max_logits}};
  judge_unchanged(inputs, result);
  judge_guards(outputs, result);
  if (!tensors.sparse_case.prefill() || !tensors.sparse_case.max_logits)
    judge_unchanged(unasked, result);
  judge_padding(tensors.out, results.out_bytes(), result);
}

}  // namespace

std::vector<RowIndex> rows_to_check(const SparseCase& c) {
  const std::int64_t tokens = c.batch * c.query_tokens;
  std::set<std::int64_t> chosen_tokens;
  std::set<std::int64_t> chosen_heads;
  const auto choose = [](std::set<std::int64_t>& chosen, std::int64_t count, std::int64_t wanted,
                         Random& random) {
    if (count > 0)
      chosen = {0, count - 1};
    while (static_cast<std::int64_t>(chosen.size()) < std::min(count, wanted))
      chosen.insert(random.between(0, count - 1));
  };
  Random random(key_of(c.seed, row_choice));
  const bool all = c.row_entries() <= oracle_row_entries;
  const std::int64_t most_tokens = std::clamp<std::int64_t>(
      oracle_entries / std::max<std::int64_t>(1, c.topk + c.extra_topk), 2, oracle_tokens);
  choose(chosen_tokens, tokens, all ? tokens : most_tokens, random);
  choose(chosen_heads, c.query_heads, all ? c.query_heads : oracle_heads, random);
  std::vector<RowIndex> rows;
  for (const std::int64_t token : chosen_tokens)
    for (const std::int64_t head : chosen_heads)
      rows.push_back({token / c.query_tokens, token % c.query_tokens, head});
  return rows;
}

std::vector<Reference> reference_of(SparseTensors& tensors, RowGroup rows, CachedValues values) {
  const SparseCase& c = tensors.sparse_case;
  const auto row_size = static_cast<std::size_t>(c.qk_dim);
  const bool exact = values == CachedValues::exact;
  const auto [request, query_token, head] = rows[0];
  std::vector<std::uint16_t> rounded;
  std::vector<float> products;
  if (exact)
    products = tensors.attended_exactly(request, query_token);
  else
    rounded = tensors.attended(request, query_token);
  const auto tokens =
      static_cast<std::int64_t>((exact ? products.size() : rounded.size()) / row_size);
  std::vector<std::vector<float>> q;
  std::vector<OracleQuery> queries;
  for (const RowIndex& row : rows) {
    decode(DType::bf16, tensors.query_row(row.request, row.query_token, row.head),
           q.emplace_back(row_size));
    queries.push_back({.q = {}, .tokens = tokens, .sink = tensors.sink_values[row.head]});
  }
  for (std::size_t i = 0; i < q.size(); ++i)
    queries[i].q = q[i];
  return attend(oracle_shape(c, DType::bf16), queries,
                [&](std::int64_t first, std::int64_t count, float* numbers) {
                  const std::size_t size = static_cast<std::size_t>(count) * row_size;
                  if (exact)
                    std::copy_n(products.data() + first * c.qk_dim, size, numbers);
                  else
                    decode(DType::bf16, {rounded.data() + first * c.qk_dim, size}, {numbers, size});
                });
}

void run_library(SparseTensors& tensors, Memory& memory, CaseResult& result) {
  Plan plan = make_plan(problem_of(tensors.sparse_case, memory.device()));
  GuardedWorkspaces workspaces(plan, memory);
  plan.schedule({}, workspaces.plan());
  run(plan, tensors.inputs(), tensors.outputs(), workspaces.run());
  workspaces.judge(plan, tensors.sparse_case.batch * tensors.sparse_case.query_tokens, result);
}

CaseResult run_case(const SparseCase& sparse_case, Memory& memory) {
  return run_case(sparse_case, memory, [&](SparseTensors& tensors, CaseResult& result) {
    run_library(tensors, memory, result);
  });
}

CaseResult run_case(const SparseCase& sparse_case, Memory& memory, const SparseFunction& compute) {
  return run_and_judge<SparseTensors>(
      sparse_case, memory, compute, std::ldexp(largest_output, sparse_case.magnitude),
      [](SparseTensors& tensors, const RowIndex& row) {
        return tensors.contents[static_cast<std::size_t>(
            row.request * tensors.sparse_case.query_tokens + row.query_token)];
      },
      [](SparseTensors& tensors, const Results& results, CaseResult& result) {
        check_against_oracle(tensors, results, result);
        check_memory(tensors, results, result);
      });
}

}  // namespace flashmla::support
