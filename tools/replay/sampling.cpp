#include "tools/replay/sampling.h"

#include <algorithm>
#include <unordered_set>

#include "support/random.h"

namespace flashmla::tools {

// Floyd's method: every set of `count` results is equally likely.
Sampler::Sampler(std::int64_t total, std::int64_t count, std::uint64_t key) {
  support::Random random(key);
  std::unordered_set<std::int64_t> chosen;
  for (std::int64_t last = std::max<std::int64_t>(total - count, 0); last < total; ++last)
    if (!chosen.insert(random.between(0, last)).second)
      chosen.insert(last);
  chosen_.assign(chosen.begin(), chosen.end());
  std::sort(chosen_.begin(), chosen_.end());
}

std::vector<std::int64_t> Sampler::among_next(std::int64_t count) {
  std::vector<std::int64_t> offsets;
  for (; next_ < chosen_.size() && chosen_[next_] < passed_ + count; ++next_)
    offsets.push_back(chosen_[next_] - passed_);
  passed_ += count;
  return offsets;
}

}  // namespace flashmla::tools
