// Where a token lies.
#pragma once

#include <cstddef>
#include <cstdint>

#include "sm90/kernels/cache/params.h"
#include "sm90/ptx/device.h"

namespace flashmla::sm90::cache {

// A token of a cache: its row of the first head, and its scales in an FP8 format.
struct CachedToken {
  std::byte* row;
  std::byte* scales;
};

FLASHMLA_DEVICE CachedToken cached_token(const Params& p, std::int64_t page, std::int64_t token) {
  std::byte* const first = p.cache.data + page * p.cache.page_stride;
  return {first + token * p.cache.token_stride, first + p.scales_offset + token * p.scales_stride};
}

// `slot` is one of the cache.
FLASHMLA_DEVICE CachedToken token_of_slot(const Params& p, std::int64_t slot) {
  const std::int64_t page = slot / p.page_size;
  return cached_token(p, page, slot - page * p.page_size);
}

FLASHMLA_DEVICE bool is_slot(const Params& p, std::int64_t slot) {
  return slot >= 0 && slot < p.num_pages * p.page_size;
}

FLASHMLA_DEVICE std::int64_t slot_of(const Params& p, std::int64_t row) {
  return p.wide_slots ? static_cast<const std::int64_t*>(p.slots)[row]
                      : static_cast<const std::int32_t*>(p.slots)[row];
}

// The tokens of a whole cache that a warp moves, without a division in each step.
class TokenWalk {
 public:
  FLASHMLA_DEVICE TokenWalk(const Params& p, std::int64_t first)
      : p_(p), page_(first / p.page_size), token_(first % p.page_size) {}

  FLASHMLA_DEVICE bool is_inside() const { return page_ < p_.num_pages; }

  FLASHMLA_DEVICE void advance() {
    page_ += p_.step_pages;
    token_ += p_.step_tokens;
    if (token_ >= p_.page_size) {
      token_ -= p_.page_size;
      ++page_;
    }
  }

  FLASHMLA_DEVICE CachedToken cached() const { return cached_token(p_, page_, token_); }
  FLASHMLA_DEVICE std::byte* row() const {
    return p_.rows.data + page_ * p_.rows.page_stride + token_ * p_.rows.token_stride;
  }

 private:
  const Params& p_;
  std::int64_t page_;
  std::int64_t token_;
};

}  // namespace flashmla::sm90::cache
