#include "tools/replay/content.h"

#include <algorithm>

#include "support/random.h"

namespace flashmla::tools {

namespace {

// Keeps the keys of different purposes apart.
enum Purpose : int {
  row_purpose,
  query_purpose,
  acceptance_purpose,
  page_purpose,
  sample_purpose,
  extra_row_purpose,
  selection_purpose
};

}  // namespace

std::uint64_t row_key(std::uint64_t seed, const TokenPlace& place) {
  return support::key_of(seed, int{row_purpose}, place.request, place.position, place.layer,
                         place.attempt);
}

std::uint64_t extra_row_key(std::uint64_t seed, const TokenPlace& place) {
  return support::key_of(seed, int{extra_row_purpose}, place.request, place.position, place.layer);
}

std::uint64_t query_key(std::uint64_t seed, const TokenPlace& place, std::int64_t head) {
  return support::key_of(seed, int{query_purpose}, place.request, place.position, place.layer,
                         place.attempt, head);
}

void fill_row(std::uint64_t seed, const TokenPlace& place, std::span<float> row) {
  support::fill_normal(row, row_key(seed, place));
}

void fill_extra_row(std::uint64_t seed, const TokenPlace& place, std::span<float> row) {
  support::fill_normal(row, extra_row_key(seed, place));
}

void fill_query(std::uint64_t seed, const TokenPlace& place, std::int64_t head,
                std::span<float> query) {
  support::fill_normal(query, query_key(seed, place, head));
}

std::int64_t accepted_drafts(std::uint64_t seed, std::int64_t request, std::int64_t step,
                             std::int64_t drafts, std::int64_t left) {
  support::Random random(support::key_of(seed, int{acceptance_purpose}, request, step));
  return std::min(random.between(1, drafts), left);
}

std::uint64_t page_order_key(std::uint64_t seed) {
  return support::key_of(seed, int{page_purpose});
}

std::uint64_t sample_key(std::uint64_t seed) {
  return support::key_of(seed, int{sample_purpose});
}

std::uint64_t selection_key(std::uint64_t seed, const TokenPlace& query) {
  return support::key_of(seed, int{selection_purpose}, query.request, query.position, query.layer,
                         query.attempt);
}

}  // namespace flashmla::tools
