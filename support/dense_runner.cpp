#include "support/dense_runner.h"

#include <algorithm>
#include <set>
#include <tuple>

#include "support/dense_library.h"
#include "support/judge.h"
#include "support/numeric.h"
#include "support/random.h"

namespace flashmla::support {

namespace {

// Rows of one (request, KV head) that the oracle computes together.
constexpr std::size_t rows_at_once = 16;

// No number of `out` can be larger: it is an average of numbers below 3.47, rounded.
constexpr float largest_output = 3.5f;

std::int64_t kv_head_of(const DenseCase& c, std::int64_t head) {
  return head * c.kv_heads / c.query_heads;
}

RowIndex row_of(const DenseCase& c, std::int64_t i) {
  return row_at(i, c.query_tokens, c.query_heads);
}

std::vector<Reference> reference_of(DenseTensors& tensors, RowGroup rows) {
  const DenseCase& c = tensors.dense_case;
  const auto row_size = static_cast<std::size_t>(c.qk_dim);
  std::vector<std::vector<float>> q;
  std::vector<OracleQuery> queries;
  for (const RowIndex& row : rows) {
    const std::vector<float>& decoded = q.emplace_back(row_size);
    decode(c.type, {tensors.query_row(row.request, row.query_token, row.head), row_size}, q.back());
    queries.push_back(
        {decoded, c.visible_tokens(row.request, row.query_token), tensors.sink_values[row.head]});
  }
  const std::int64_t kv_head = kv_head_of(c, rows[0].head);
  return attend(
      oracle_shape(c, c.type), queries, [&](std::int64_t first, std::int64_t count, float* values) {
        for (std::int64_t j = 0; j < count; ++j)
          decode(c.type, {tensors.cached_row(rows[0].request, first + j, kv_head), row_size},
                 {values + j * c.qk_dim, row_size});
      });
}

void check_against_oracle(DenseTensors& tensors, const Results& results, CaseResult& result) {
  const DenseCase& c = tensors.dense_case;
  std::vector<RowIndex> rows = rows_to_check(c);
  std::ranges::sort(rows, {}, [&](const RowIndex& row) {
    return std::tuple(row.request, kv_head_of(c, row.head), row.query_token, row.head);
  });
  const auto groups =
      group_rows(rows, rows_at_once, [&](const RowIndex& first, const RowIndex& row) {
        return row.request == first.request && kv_head_of(c, row.head) == kv_head_of(c, first.head);
      });
  const bool rounded = tensors.q.view.device.type == DeviceType::cuda;
  // The parts that merge() takes are rounded to the type: single numbers of what it makes of them
  // may be off by more.
  const bool by_element = !c.softmax_scale.has_value() && !c.merged;
  const auto judge = [&](RowGroup group, Comparison& comparison, PooledError& pool) {
    const std::vector<Reference> references = reference_of(tensors, group);
    for (std::size_t i = 0; i < group.size(); ++i) {
      const std::vector<float> out = results.out(group[i]);
      const std::int64_t tokens = c.visible_tokens(group[i].request, group[i].query_token);
      comparison.add_row(out, results.lse(group[i]), references[i], tokens);
      if (!c.merged)  // whose parts the caller gets in the type of the call
        pool.add_row(c.type, out, references[i], tokens);
    }
  };
  judge_groups(
      groups, c.type,
      Comparison(c.type, by_element, AttentionKind::dense_decode,
                 rounded ? Comparison::rounded_weights : Comparison::exact_weights),
      judge, [](const RowIndex& row) { return row.request; }, result);
}

void check_memory(DenseTensors& tensors, const Results& results, CaseResult& result) {
  const NamedFault inputs[] = {{"q was written to", &tensors.q},
                               {"kv_cache was written to", &tensors.kv_cache},
                               {"block_table was written to", &tensors.block_table},
                               {"lengths were written to", &tensors.lengths},
                               {"attn_sink was written to", &tensors.attn_sink}};
  const NamedFault outputs[] = {{"memory around out was written to", &tensors.out},
                                {"memory around lse was written to", &tensors.lse}};
  judge_unchanged(inputs, result);
  judge_guards(outputs, result);
  judge_padding(tensors.out, results.out_bytes(), result);
}

}  // namespace

std::vector<RowIndex> rows_to_check(const DenseCase& c) {
  std::vector<RowIndex> rows;
  if (c.row_tokens() <= oracle_row_tokens || c.rows() <= oracle_rows) {
    for (std::int64_t i = 0; i < c.rows(); ++i)
      rows.push_back(row_of(c, i));
    return rows;
  }
  Random random(key_of(c.seed, row_choice));
  std::set<RowIndex> chosen{row_of(c, 0), row_of(c, c.rows() - 1)};
  const auto add_request = [&](auto request) {
    if (request == c.lengths.end())
      return;
    const std::int64_t r = request - c.lengths.begin();
    chosen.insert({r, 0, 0});
    chosen.insert({r, c.query_tokens - 1, c.query_heads - 1});
    for (int i = 0; i < 4; ++i)
      chosen.insert(
          {r, random.between(0, c.query_tokens - 1), random.between(0, c.query_heads - 1)});
  };
  add_request(std::max_element(c.lengths.begin(), c.lengths.end()));
  add_request(std::find(c.lengths.begin(), c.lengths.end(), 0));
  while (static_cast<std::int64_t>(chosen.size()) < oracle_rows)
    chosen.insert(row_of(c, random.between(0, c.rows() - 1)));
  return {chosen.begin(), chosen.end()};
}

CaseResult run_case(const DenseCase& dense_case, Memory& memory) {
  return run_case(dense_case, memory, [&](DenseTensors& tensors, CaseResult& result) {
    run_library(tensors, memory, result);
  });
}

CaseResult run_case(const DenseCase& dense_case, Memory& memory, const DenseFunction& compute) {
  return run_and_judge<DenseTensors>(
      dense_case, memory, compute, largest_output,
      [&](DenseTensors&, const RowIndex& row) {
        return dense_case.visible_tokens(row.request, row.query_token) == 0 ? RowContent::nothing
                                                                            : RowContent::numbers;
      },
      [](DenseTensors& tensors, const Results& results, CaseResult& result) {
        check_against_oracle(tensors, results, result);
        check_memory(tensors, results, result);
      });
}

}  // namespace flashmla::support
