#include "support/dense_runner.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <set>
#include <tuple>

#include "flashmla/error.h"
#include "support/dense_library.h"
#include "support/numeric.h"
#include "support/parallel.h"
#include "support/random.h"

namespace flashmla::support {

namespace {

// Rows of one (request, KV head) that the oracle computes together.
constexpr std::size_t rows_at_once = 16;

// Sets the key of the choice of rows apart from those of the tensors.
constexpr int row_choice = 100;

// No number of `out` can be larger: it is an average of numbers below 3.47, rounded.
constexpr float largest_output = 3.5f;

// The results as they came back.
struct Results {
  std::vector<std::byte> out_bytes;
  std::vector<std::byte> lse_bytes;

  explicit Results(const DenseTensors& tensors)
      : out_bytes(tensors.out.buffer.download()), lse_bytes(tensors.lse.buffer.download()) {}

  std::vector<float> out_row(const DenseTensors& tensors, const RowIndex& row) const {
    const DenseCase& c = tensors.dense_case;
    std::vector<float> values(static_cast<std::size_t>(c.v_dim));
    const auto* bits = reinterpret_cast<const std::uint16_t*>(out_bytes.data()) +
                       offset_of(tensors.out.view, {row.request, row.query_token, row.head, 0});
    decode(c.type, {bits, values.size()}, values);
    return values;
  }

  float lse(const DenseTensors& tensors, const RowIndex& row) const {
    return reinterpret_cast<const float*>(
        lse_bytes.data())[offset_of(tensors.lse.view, {row.request, row.head, row.query_token})];
  }
};

std::int64_t kv_head_of(const DenseCase& c, std::int64_t head) {
  return head * c.kv_heads / c.query_heads;
}

RowIndex row_at(const DenseCase& c, std::int64_t i) {
  return {i / (c.query_tokens * c.query_heads), i / c.query_heads % c.query_tokens,
          i % c.query_heads};
}

// Runs of rows of one request and KV head, each at most rows_at_once.
std::vector<std::span<const RowIndex>> group_rows(const DenseCase& c,
                                                  const std::vector<RowIndex>& rows) {
  std::vector<std::span<const RowIndex>> groups;
  for (auto first = rows.begin(); first != rows.end();) {
    const auto differs = [&](const RowIndex& row) {
      return row.request != first->request || kv_head_of(c, row.head) != kv_head_of(c, first->head);
    };
    const auto limit = first + std::min<std::ptrdiff_t>(rows_at_once, rows.end() - first);
    const auto last = std::find_if(first, limit, differs);
    groups.emplace_back(first, last);
    first = last;
  }
  return groups;
}

std::vector<Reference> reference_of(DenseTensors& tensors, std::span<const RowIndex> rows) {
  const DenseCase& c = tensors.dense_case;
  OracleShape shape;
  shape.qk_dim = c.qk_dim;
  shape.v_dim = c.v_dim;
  shape.type = c.type;
  shape.softmax_scale = c.softmax_scale ? static_cast<double>(*c.softmax_scale)
                                        : 1 / std::sqrt(static_cast<double>(c.qk_dim));
  const auto row_size = static_cast<std::size_t>(c.qk_dim);
  std::vector<std::vector<float>> q;
  std::vector<OracleQuery> queries;
  for (const RowIndex& row : rows) {
    const std::vector<float>& decoded = q.emplace_back(row_size);
    decode(c.type, {tensors.query_row(row.request, row.query_token, row.head), row_size}, q.back());
    queries.push_back({decoded, c.visible_tokens(row.request, row.query_token),
                       tensors.sink_values[static_cast<std::size_t>(row.head)]});
  }
  const std::int64_t kv_head = kv_head_of(c, rows[0].head);
  return attend(shape, queries, [&](std::int64_t first, std::int64_t count, float* values) {
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
  const auto groups = group_rows(c, rows);
  const bool rounded = tensors.q.view.device.type == DeviceType::cuda;
  // The parts that merge() takes are rounded to the type: single numbers of what it makes of them
  // may be off by more.
  const bool by_element = !c.softmax_scale.has_value() && !c.merged;
  const Comparison none(c.type, by_element, AttentionKind::dense_decode,
                        rounded ? Comparison::rounded_weights : Comparison::exact_weights);
  std::vector<Comparison> comparisons(groups.size(), none);
  std::vector<PooledError> pools(groups.size());
  parallel_for(static_cast<std::int64_t>(groups.size()), [&](std::int64_t g) {
    const auto at = static_cast<std::size_t>(g);
    const std::vector<Reference> references = reference_of(tensors, groups[at]);
    for (std::size_t i = 0; i < groups[at].size(); ++i) {
      const RowIndex& row = groups[at][i];
      const std::vector<float> out = results.out_row(tensors, row);
      const std::int64_t tokens = c.visible_tokens(row.request, row.query_token);
      comparisons[at].add_row(out, results.lse(tensors, row), references[i], tokens);
      if (!c.merged)  // whose parts the caller gets in the type of the call
        pools[at].add_row(c.type, out, references[i], tokens);
    }
  });
  Comparison whole = none;
  for (std::size_t g = 0; g < groups.size(); ++g) {
    whole.add(comparisons[g]);
    result.pools[{c.type, result.cut_of(groups[g][0].request)}].add(pools[g]);
  }
  result.errors = whole.finish();
  result.rows_checked = static_cast<std::int64_t>(rows.size());
  add_faults(result.errors, result.faults);
}

// What can be said about a row without the oracle; empty when it is sound.
std::string unsound(const DenseTensors& tensors, const Results& results, const RowIndex& row) {
  const bool empty = tensors.dense_case.visible_tokens(row.request, row.query_token) == 0;
  const float limit = empty ? 0 : largest_output;
  for (const float value : results.out_row(tensors, row))
    if (!(std::abs(value) <= limit))
      return "out holds " + std::to_string(value);
  const float lse = results.lse(tensors, row);
  if (empty ? lse != std::numeric_limits<float>::infinity() : !std::isfinite(lse))
    return "lse is " + std::to_string(lse);
  return {};
}

void check_every_row(const DenseTensors& tensors, const Results& results, CaseResult& result) {
  const DenseCase& c = tensors.dense_case;
  constexpr std::int64_t rows_of_a_task = 256;
  const std::int64_t tasks = (c.rows() + rows_of_a_task - 1) / rows_of_a_task;
  std::vector<std::string> faults(static_cast<std::size_t>(tasks));  // the first of each task
  parallel_for(tasks, [&](std::int64_t task) {
    std::string& first = faults[static_cast<std::size_t>(task)];
    const std::int64_t end = std::min(c.rows(), (task + 1) * rows_of_a_task);
    for (std::int64_t i = task * rows_of_a_task; i < end && first.empty(); ++i)
      if (const std::string fault = unsound(tensors, results, row_at(c, i)); !fault.empty())
        first = text_of(row_at(c, i)) + ": " + fault;
  });
  const auto found = std::ranges::find_if_not(faults, &std::string::empty);
  if (found != faults.end())
    result.faults.push_back(*found);
}

// Memory between the rows of a strided `out` keeps its poison.
bool padding_unchanged(DenseTensors& tensors, std::vector<std::byte> now) {
  const DenseCase& c = tensors.dense_case;
  const std::span before = tensors.out.buffer.image();
  const std::size_t row_bytes = static_cast<std::size_t>(c.v_dim) * size_of(c.type);
  for (std::int64_t r = 0; r < c.batch(); ++r)
    for (std::int64_t t = 0; t < c.query_tokens; ++t)
      for (std::int64_t h = 0; h < c.query_heads; ++h) {
        const auto start =
            static_cast<std::size_t>(offset_of(tensors.out.view, {r, t, h, 0})) * size_of(c.type);
        std::memcpy(now.data() + start, before.data() + start, row_bytes);
      }
  return std::ranges::equal(now, before);
}

void check_memory(DenseTensors& tensors, const Results& results, CaseResult& result) {
  const auto demand = [&](bool holds, const char* fault) {
    if (!holds)
      result.faults.emplace_back(fault);
  };
  demand(tensors.q.buffer.unchanged(), "q was written to");
  demand(tensors.kv_cache.buffer.unchanged(), "kv_cache was written to");
  demand(tensors.block_table.buffer.unchanged(), "block_table was written to");
  demand(tensors.lengths.buffer.unchanged(), "lengths were written to");
  demand(tensors.attn_sink.buffer.unchanged(), "attn_sink was written to");
  demand(tensors.out.buffer.guards_unchanged(), "memory around out was written to");
  demand(tensors.lse.buffer.guards_unchanged(), "memory around lse was written to");
  demand(padding_unchanged(tensors, results.out_bytes),
         "memory between rows of out was written to");
}

}  // namespace

std::vector<RowIndex> rows_to_check(const DenseCase& c) {
  std::vector<RowIndex> rows;
  if (c.row_tokens() <= oracle_row_tokens || c.rows() <= oracle_rows) {
    for (std::int64_t i = 0; i < c.rows(); ++i)
      rows.push_back(row_at(c, i));
    return rows;
  }
  Random random(key_of(c.seed, row_choice));
  std::set<RowIndex> chosen{row_at(c, 0), row_at(c, c.rows() - 1)};
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
    chosen.insert(row_at(c, random.between(0, c.rows() - 1)));
  return {chosen.begin(), chosen.end()};
}

CaseResult run_case(const DenseCase& dense_case, Memory& memory) {
  return run_case(dense_case, memory, [&](DenseTensors& tensors, CaseResult& result) {
    run_library(tensors, memory, result);
  });
}

CaseResult run_case(const DenseCase& dense_case, Memory& memory, const DenseFunction& compute) {
  CaseResult result;
  DenseTensors tensors(dense_case, memory);
  try {
    compute(tensors, result);
  } catch (const Error& error) {
    if (error.code() == ErrorCode::unsupported)
      throw;
    result.faults.push_back(std::string("the library threw: ") + error.what());
    return result;
  }
  const Results results(tensors);
  check_every_row(tensors, results, result);
  check_against_oracle(tensors, results, result);
  check_memory(tensors, results, result);
  return result;
}

}  // namespace flashmla::support
