// What the tokens of a replay are made of. Every number is a pure function of the seed and its
// place, so that the oracle can make it anew without a look into the cache.
#pragma once

#include <cstdint>
#include <span>

#include "flashmla/dtype.h"

namespace flashmla::tools {

// Where a latent row or a query stands. `attempt` is the request's decode step that wrote the row,
// counted from 1, and 0 for rows of the prompt: a rejected draft differs from what is later
// accepted in its place.
struct TokenPlace {
  std::int64_t request;
  std::int64_t position;
  std::int64_t layer;
  std::int64_t attempt;
};

// The keys with which support::fill_normal() makes a latent row, row `place.position` of the
// request's extra cache (selection.h), and a query.
std::uint64_t row_key(std::uint64_t seed, const TokenPlace& place);
std::uint64_t extra_row_key(std::uint64_t seed, const TokenPlace& place);
std::uint64_t query_key(std::uint64_t seed, const TokenPlace& place, std::int64_t head);

// Fill a row or a query with numbers of variance 1.
void fill_row(std::uint64_t seed, const TokenPlace& place, std::span<float> row);
void fill_extra_row(std::uint64_t seed, const TokenPlace& place, std::span<float> row);
void fill_query(std::uint64_t seed, const TokenPlace& place, std::int64_t head,
                std::span<float> query);

// How many of a step's drafts are accepted: from 1 to min(drafts, left). `left` is the number of
// tokens that are still to be generated, at least 1.
std::int64_t accepted_drafts(std::uint64_t seed, std::int64_t request, std::int64_t step,
                             std::int64_t drafts, std::int64_t left);

// The keys of the other choices that a seed makes: the order of pages, the samples, the selection
// of rows.
std::uint64_t page_order_key(std::uint64_t seed);
std::uint64_t sample_key(std::uint64_t seed);
std::uint64_t selection_key(std::uint64_t seed, const TokenPlace& query);

}  // namespace flashmla::tools
