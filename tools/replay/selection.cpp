#include "tools/replay/selection.h"

#include <algorithm>
#include <numeric>
#include <unordered_set>

#include "support/random.h"

namespace flashmla::tools {

namespace {

// Draws `count` distinct numbers below `limit`, in no order (Floyd's algorithm).
std::vector<std::int64_t> distinct(std::int64_t count, std::int64_t limit,
                                   support::Random& random) {
  std::unordered_set<std::int64_t> seen;
  std::vector<std::int64_t> chosen;
  for (std::int64_t last = limit - count; last < limit; ++last) {
    const std::int64_t drawn = random.between(0, last);
    chosen.push_back(seen.insert(drawn).second ? drawn : last);
    seen.insert(chosen.back());
  }
  return chosen;
}

}  // namespace

Selection select_rows(KvFormat format, std::uint64_t seed, const TokenPlace& query,
                      std::int64_t settled) {
  Selection selection;
  support::Random random(selection_key(seed, query));
  const std::int64_t visible = query.position + 1;
  if (format == KvFormat::v32) {
    selection.tokens = distinct(std::min(v32_topk, visible), visible, random);
    return selection;
  }
  selection.tokens.resize(static_cast<std::size_t>(std::min(v4_window, visible)));
  std::iota(selection.tokens.begin(), selection.tokens.end(),
            visible - std::ssize(selection.tokens));
  const std::int64_t rows = settled / tokens_of_extra_row;
  selection.extra_rows = distinct(std::min(v4_extra_topk, rows), rows, random);
  return selection;
}

std::int64_t attended_rows(KvFormat format, std::int64_t position, std::int64_t settled) {
  if (is_plain(format))
    return position + 1;
  if (format == KvFormat::v32)
    return std::min(v32_topk, position + 1);
  return std::min(v4_window, position + 1) + std::min(v4_extra_topk, settled / tokens_of_extra_row);
}

}  // namespace flashmla::tools
