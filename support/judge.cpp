#include "support/judge.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "flashmla/error.h"
#include "support/numeric.h"
#include "support/parallel.h"

namespace flashmla::support {

RowIndex row_at(std::int64_t i, std::int64_t query_tokens, std::int64_t query_heads) {
  return {i / (query_tokens * query_heads), i / query_heads % query_tokens, i % query_heads};
}

float Statistic::at(const RowIndex& row) const {
  const std::int64_t place = view_.rank == 2
                                 ? offset_of(view_, {row.query_token, row.head})
                                 : offset_of(view_, {row.request, row.head, row.query_token});
  return reinterpret_cast<const float*>(bytes_.data())[place];
}

std::vector<float> Results::out(const RowIndex& row) const {
  std::vector<float> values(static_cast<std::size_t>(view_.shape[3]));
  const auto* bits = reinterpret_cast<const std::uint16_t*>(out_.data()) +
                     offset_of(view_, {row.request, row.query_token, row.head, 0});
  decode(view_.dtype, {bits, values.size()}, values);
  return values;
}

std::vector<RowGroup> group_rows(
    const std::vector<RowIndex>& rows, std::size_t most,
    const std::function<bool(const RowIndex& first, const RowIndex& row)>& alike) {
  std::vector<RowGroup> groups;
  for (auto first = rows.begin(); first != rows.end();) {
    const auto left = static_cast<std::size_t>(rows.end() - first);
    const auto limit = first + static_cast<std::ptrdiff_t>(std::min(most, left));
    const auto last =
        std::find_if_not(first, limit, [&](const RowIndex& row) { return alike(*first, row); });
    groups.emplace_back(first, last);
    first = last;
  }
  return groups;
}

void judge_groups(const std::vector<RowGroup>& groups, DType type, const Comparison& none,
                  const std::function<void(RowGroup, Comparison&, PooledError&)>& judge,
                  const std::function<std::int64_t(const RowIndex&)>& request, CaseResult& result) {
  std::vector<Comparison> comparisons(groups.size(), none);
  std::vector<PooledError> pools(groups.size());
  parallel_for(std::ssize(groups), [&](std::int64_t g) {
    const auto at = static_cast<std::size_t>(g);
    judge(groups[at], comparisons[at], pools[at]);
  });
  Comparison whole = none;
  for (std::size_t g = 0; g < groups.size(); ++g) {
    whole.add(comparisons[g]);
    result.pools[{type, result.cut_of(request(groups[g][0]))}].add(pools[g]);
    result.rows_checked += std::ssize(groups[g]);
  }
  result.errors = whole.finish();
  add_faults(result.errors, result.faults);
}

std::string unsound(const Results& results, const RowIndex& row, RowContent content,
                    float largest) {
  const bool nothing = content == RowContent::nothing;
  const bool nan = content == RowContent::nan;
  const char* const wanted = nan ? ", wanted NaN" : nothing ? ", wanted no token" : "";
  for (const float value : results.out(row))
    if (nan ? !std::isnan(value) : !(std::abs(value) <= (nothing ? 0 : largest)))
      return text_of(row) + ": out holds " + std::to_string(value) + wanted;
  const float lse = results.lse(row);
  const bool right = nan       ? std::isnan(lse)
                     : nothing ? lse == std::numeric_limits<float>::infinity()
                               : std::isfinite(lse);
  return right ? "" : text_of(row) + ": lse is " + std::to_string(lse) + wanted;
}

void judge_every_row(std::int64_t rows, const std::function<std::string(std::int64_t row)>& fault,
                     CaseResult& result) {
  constexpr std::int64_t rows_of_a_task = 256;
  const std::int64_t tasks = (rows + rows_of_a_task - 1) / rows_of_a_task;
  std::vector<std::string> faults(static_cast<std::size_t>(tasks));  // the first of each task
  parallel_for(tasks, [&](std::int64_t task) {
    std::string& first = faults[task];
    const std::int64_t end = std::min(rows, (task + 1) * rows_of_a_task);
    for (std::int64_t i = task * rows_of_a_task; i < end && first.empty(); ++i)
      first = fault(i);
  });
  const auto found = std::ranges::find_if_not(faults, &std::string::empty);
  if (found != faults.end())
    result.faults.push_back(*found);
}

void judge_unchanged(std::span<const NamedFault> tensors, CaseResult& result) {
  for (const auto& [fault, tensor] : tensors)
    if (!tensor->buffer.unchanged())
      result.faults.emplace_back(fault);
}

void judge_guards(std::span<const NamedFault> tensors, CaseResult& result) {
  for (const auto& [fault, tensor] : tensors)
    if (!tensor->buffer.guards_unchanged())
      result.faults.emplace_back(fault);
}

void judge_padding(GuardedTensor& out, std::vector<std::byte> now, CaseResult& result) {
  const std::span before = out.buffer.image();
  const auto& shape = out.view.shape;
  const std::size_t element = size_of(out.view.dtype);
  const std::size_t row_bytes = static_cast<std::size_t>(shape[3]) * element;
  for (std::int64_t i = 0; i < shape[0] * shape[1] * shape[2]; ++i) {
    const RowIndex row = row_at(i, shape[1], shape[2]);
    const auto start = element * static_cast<std::size_t>(offset_of(
                                     out.view, {row.request, row.query_token, row.head, 0}));
    std::memcpy(now.data() + start, before.data() + start, row_bytes);
  }
  if (!std::ranges::equal(now, before))
    result.faults.emplace_back("memory between rows of out was written to");
}

bool computed(const std::function<void()>& compute, CaseResult& result) {
  try {
    compute();
    return true;
  } catch (const Error& error) {
    if (error.code() == ErrorCode::unsupported)
      throw;
    result.faults.push_back(std::string("the library threw: ") + error.what());
    return false;
  }
}

}  // namespace flashmla::support
