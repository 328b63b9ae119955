// The free pages of the cache.
#pragma once

#include <cstdint>
#include <vector>

namespace flashmla::tools {

// The pages 0 … count − 1 in an order that the seed shuffles. The pages that came back last are
// handed out first, so that requests do meet stale rows of earlier ones.
class PagePool {
 public:
  PagePool(std::int64_t count, std::uint64_t seed);

  std::int64_t free() const { return static_cast<std::int64_t>(free_.size()); }

  // Hands out `count` pages, at most free().
  std::vector<std::int32_t> take(std::int64_t count);
  void give_back(const std::vector<std::int32_t>& pages);

 private:
  std::vector<std::int32_t> free_;
};

}  // namespace flashmla::tools
