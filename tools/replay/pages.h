// The free pages of the cache.
#pragma once

#include <cstdint>
#include <vector>

namespace flashmla::tools {

// Pages 0 … count − 1, handed out in an order shuffled by the seed; pages that came back last go
// out first, so that stale rows of earlier requests really are met again.
class PagePool {
 public:
  PagePool(std::int64_t count, std::uint64_t seed);

  std::int64_t free() const { return static_cast<std::int64_t>(free_.size()); }

  // At most free() pages.
  std::vector<std::int32_t> take(std::int64_t count);
  void give_back(const std::vector<std::int32_t>& pages);

 private:
  std::vector<std::int32_t> free_;
};

}  // namespace flashmla::tools
