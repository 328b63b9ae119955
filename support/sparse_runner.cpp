#include "support/sparse_runner.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <set>
#include <utility>

#include "flashmla/error.h"
#include "flashmla/plan.h"
#include "support/guarded_workspaces.h"
#include "support/numeric.h"
#include "support/oracle.h"
#include "support/parallel.h"
#include "support/random.h"

namespace flashmla::support {

namespace {

constexpr std::int64_t oracle_row_entries = 100'000;
constexpr std::int64_t oracle_tokens = 8;  // of larger cases
constexpr std::int64_t oracle_heads = 8;   // of each of them
constexpr int row_choice = 100;            // keeps this key apart from those of the tensors

// No number of `out` can be larger: it is an average of numbers below 3.47, which e4m3 may round up
// by a sixteenth.
constexpr float largest_output = 3.75f;

// The results as they came back.
struct Results {
  const SparseTensors& tensors;
  std::vector<std::byte> out_bytes = tensors.out.buffer.download();
  std::vector<std::byte> lse_bytes = tensors.lse.buffer.download();
  std::vector<std::byte> max_logits_bytes = tensors.max_logits.buffer.download();

  std::vector<float> out(const RowIndex& row) const {
    std::vector<float> values(static_cast<std::size_t>(tensors.sparse_case.v_dim));
    const auto* bits = reinterpret_cast<const std::uint16_t*>(out_bytes.data()) +
                       offset_of(tensors.out.view, {row.request, row.query_token, row.head, 0});
    decode(DType::bf16, {bits, values.size()}, values);
    return values;
  }

  float lse(const RowIndex& row) const { return statistic(lse_bytes, row); }
  float max_logit(const RowIndex& row) const { return statistic(max_logits_bytes, row); }

 private:
  float statistic(const std::vector<std::byte>& bytes, const RowIndex& row) const {
    const std::int64_t place =
        tensors.sparse_case.prefill()
            ? offset_of(tensors.lse.view, {row.query_token, row.head})
            : offset_of(tensors.lse.view, {row.request, row.head, row.query_token});
    return reinterpret_cast<const float*>(bytes.data())[place];
  }
};

// Runs of rows of one query token.
std::vector<std::span<const RowIndex>> group_rows(const std::vector<RowIndex>& rows) {
  std::vector<std::span<const RowIndex>> groups;
  for (auto first = rows.begin(); first != rows.end();) {
    const auto last = std::find_if(first, rows.end(), [&](const RowIndex& row) {
      return row.request != first->request || row.query_token != first->query_token;
    });
    groups.emplace_back(first, last);
    first = last;
  }
  return groups;
}

void check_group(SparseTensors& tensors, const Results& results, std::span<const RowIndex> group,
                 Comparison& comparison, PooledError& pool) {
  const std::vector<Reference> references = reference_of(tensors, group);
  const SparseCase& c = tensors.sparse_case;
  const auto tokens =
      static_cast<std::int64_t>(tensors.attended(group[0].request, group[0].query_token).size() /
                                static_cast<std::size_t>(c.qk_dim));
  for (std::size_t i = 0; i < group.size(); ++i) {
    const std::vector<float> out = results.out(group[i]);
    comparison.add_row(out, results.lse(group[i]), references[i], tokens);
    pool.add_row(DType::bf16, out, references[i], tokens);
    if (c.prefill() && c.max_logits)
      comparison.add_max_logit(results.max_logit(group[i]), references[i], tokens);
  }
}

void check_against_oracle(SparseTensors& tensors, const Results& results, CaseResult& result) {
  const SparseCase& c = tensors.sparse_case;
  const std::vector<RowIndex> rows = rows_to_check(c);
  const auto groups = group_rows(rows);
  const Comparison none(DType::bf16, !c.softmax_scale.has_value(), c.kind);
  std::vector<Comparison> comparisons(groups.size(), none);
  std::vector<PooledError> pools(groups.size());
  parallel_for(static_cast<std::int64_t>(groups.size()), [&](std::int64_t g) {
    const auto at = static_cast<std::size_t>(g);
    check_group(tensors, results, groups[at], comparisons[at], pools[at]);
  });
  Comparison whole = none;
  for (std::size_t g = 0; g < groups.size(); ++g) {
    whole.add(comparisons[g]);
    const RowIndex& row = groups[g][0];
    const Cut cut = result.cut_of(row.request * c.query_tokens + row.query_token);
    result.pools[{DType::bf16, cut}].add(pools[g]);
  }
  result.errors = whole.finish();
  result.rows_checked = static_cast<std::int64_t>(rows.size());
  add_faults(result.errors, result.faults);
}

// Every row is written, and either sound or that of an empty list.
void check_every_row(const SparseTensors& tensors, const Results& results, CaseResult& result) {
  const SparseCase& c = tensors.sparse_case;
  for (std::int64_t i = 0; i < c.rows(); ++i) {
    const std::int64_t token = i / c.query_heads;
    const RowIndex row{token / c.query_tokens, token % c.query_tokens, i % c.query_heads};
    const float lse = results.lse(row);
    const bool empty = lse == std::numeric_limits<float>::infinity();
    bool sound = empty || std::isfinite(lse);
    for (const float value : results.out(row))
      sound = sound && std::abs(value) <= (empty ? 0 : largest_output);
    if (!sound) {
      result.faults.push_back(text_of(row) + ": out or lse holds no sound number");
      return;
    }
  }
}

// Memory between the rows of a strided `out` keeps its poison.
bool padding_unchanged(SparseTensors& tensors, std::vector<std::byte> now) {
  const SparseCase& c = tensors.sparse_case;
  const std::span before = tensors.out.buffer.image();
  const std::size_t row_bytes = static_cast<std::size_t>(c.v_dim) * sizeof(std::uint16_t);
  for (std::int64_t i = 0; i < c.rows(); ++i) {
    const std::int64_t token = i / c.query_heads;
    const auto start = sizeof(std::uint16_t) *
                       static_cast<std::size_t>(offset_of(
                           tensors.out.view,
                           {token / c.query_tokens, token % c.query_tokens, i % c.query_heads, 0}));
    std::memcpy(now.data() + start, before.data() + start, row_bytes);
  }
  return std::ranges::equal(now, before);
}

void check_memory(SparseTensors& tensors, const Results& results, CaseResult& result) {
  const auto demand = [&](bool holds, const char* fault) {
    if (!holds)
      result.faults.emplace_back(fault);
  };
  const std::pair<const char*, const GuardedTensor*> inputs[] = {
      {"q was written to", &tensors.q},
      {"kv_cache was written to", &tensors.main.cache},
      {"indices were written to", &tensors.main.indices},
      {"topk_length was written to", &tensors.main.lengths},
      {"extra_kv_cache was written to", &tensors.extra.cache},
      {"extra_indices were written to", &tensors.extra.indices},
      {"extra_topk_length was written to", &tensors.extra.lengths},
      {"attn_sink was written to", &tensors.attn_sink}};
  for (const auto& [fault, tensor] : inputs)
    demand(tensor->buffer.unchanged(), fault);
  demand(tensors.out.buffer.guards_unchanged(), "memory around out was written to");
  demand(tensors.lse.buffer.guards_unchanged(), "memory around lse was written to");
  demand(tensors.max_logits.buffer.guards_unchanged(), "memory around max_logits was written to");
  const bool max_logits_wanted = tensors.sparse_case.prefill() && tensors.sparse_case.max_logits;
  demand(max_logits_wanted || tensors.max_logits.buffer.unchanged(),
         "max_logits was written to unasked");
  demand(padding_unchanged(tensors, results.out_bytes),
         "memory between rows of out was written to");
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
  choose(chosen_tokens, tokens, all ? tokens : oracle_tokens, random);
  choose(chosen_heads, c.query_heads, all ? c.query_heads : oracle_heads, random);
  std::vector<RowIndex> rows;
  for (const std::int64_t token : chosen_tokens)
    for (const std::int64_t head : chosen_heads)
      rows.push_back({token / c.query_tokens, token % c.query_tokens, head});
  return rows;
}

std::vector<Reference> reference_of(SparseTensors& tensors, std::span<const RowIndex> rows) {
  const SparseCase& c = tensors.sparse_case;
  const auto row_size = static_cast<std::size_t>(c.qk_dim);
  const OracleShape shape{.qk_dim = c.qk_dim,
                          .v_dim = c.v_dim,
                          .softmax_scale = c.softmax_scale
                                               ? static_cast<double>(*c.softmax_scale)
                                               : 1 / std::sqrt(static_cast<double>(c.qk_dim)),
                          .type = DType::bf16};
  const std::vector<std::uint16_t> numbers = tensors.attended(rows[0].request, rows[0].query_token);
  const auto tokens = static_cast<std::int64_t>(numbers.size() / row_size);
  std::vector<std::vector<float>> q;
  std::vector<OracleQuery> queries;
  for (const RowIndex& row : rows) {
    decode(DType::bf16, tensors.query_row(row.request, row.query_token, row.head),
           q.emplace_back(row_size));
    queries.push_back({.q = {},
                       .tokens = tokens,
                       .sink = tensors.sink_values[static_cast<std::size_t>(row.head)]});
  }
  for (std::size_t i = 0; i < q.size(); ++i)
    queries[i].q = q[i];
  return attend(shape, queries, [&](std::int64_t first, std::int64_t count, float* values) {
    const std::size_t size = static_cast<std::size_t>(count) * row_size;
    decode(DType::bf16, {numbers.data() + first * c.qk_dim, size}, {values, size});
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
  CaseResult result;
  SparseTensors tensors(sparse_case, memory);
  try {
    compute(tensors, result);
  } catch (const Error& error) {
    if (error.code() == ErrorCode::unsupported)
      throw;
    result.faults.push_back(std::string("the library threw: ") + error.what());
    return result;
  }
  const Results results{tensors};
  check_every_row(tensors, results, result);
  check_against_oracle(tensors, results, result);
  check_memory(tensors, results, result);
  return result;
}

}  // namespace flashmla::support
