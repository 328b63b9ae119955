#include "tools/replay/pages.h"

#include <numeric>
#include <utility>

#include "support/random.h"

namespace flashmla::tools {

PagePool::PagePool(std::int64_t count, std::uint64_t seed)
    : free_(static_cast<std::size_t>(count)) {
  std::iota(free_.begin(), free_.end(), 0);
  support::Random random(seed);
  for (std::int64_t last = count - 1; last > 0; --last)
    std::swap(free_[last], free_[random.between(0, last)]);
}

std::vector<std::int32_t> PagePool::take(std::int64_t count) {
  std::vector<std::int32_t> pages(free_.end() - count, free_.end());
  free_.resize(free_.size() - pages.size());
  return pages;
}

void PagePool::give_back(const std::vector<std::int32_t>& pages) {
  free_.insert(free_.end(), pages.begin(), pages.end());
}

}  // namespace flashmla::tools
