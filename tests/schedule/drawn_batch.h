// A batch of random lengths, and the schedule that split_kv makes of it, for property tests.
#pragma once

#include <algorithm>
#include <cstdint>
#include <ostream>
#include <vector>

#include "schedule/plan_layout.h"
#include "schedule/split_kv.h"
#include "schedule/walk.h"
#include "support/random.h"

namespace flashmla::schedule {

struct Batch {
  SplitParams params;
  std::vector<std::int32_t> lengths;  // [b], tokens

  std::int64_t blocks(std::int32_t request) const {
    const std::int64_t tokens = lengths[request];
    return (tokens + params.block_tokens - 1) / params.block_tokens;
  }

  std::int32_t longest() const {
    return lengths.empty() ? 0 : *std::max_element(lengths.begin(), lengths.end());
  }
};

// The text that SCOPED_TRACE prints.
std::ostream& operator<<(std::ostream& text, const Batch& batch);

// A batch that depends only on the seed: 0 … 300 requests, 1 … 300 workers, lengths from one of
// several distributions (equal, uniform, heavy tails, mostly zero, one huge), any cost model of
// cost_model.h. Three in ten batches that are not batch-invariant have workers of two speeds.
Batch draw_batch(std::uint64_t seed, bool batch_invariant);

// A batch of these lengths, in blocks of 64 tokens.
Batch batch_of(std::vector<std::int32_t> lengths, std::int32_t workers, const CostModel& cost,
               bool batch_invariant = false);

// Every cost model of cost_model.h, for 1 … 256 rows.
std::vector<CostModel> all_cost_models();

// The arrays that split_kv fills. They start with values that no schedule has.
struct Schedule {
  std::vector<WorkRow> work;               // [workers]
  std::vector<std::int32_t> split_offset;  // [b + 1]
  std::vector<SplitRequest> split_list;    // [workers + 1]

  friend bool operator==(const Schedule& a, const Schedule& b);
};

// `Ns` is the type of nanoseconds on the line: std::int64_t or std::int32_t.
template <class Ns>
struct SplitScratch {
  std::vector<LinePlace<Ns>> line;
  std::vector<std::int32_t> before;
  std::vector<Cut> cuts;

  explicit SplitScratch(const SplitParams& params);
};

template <class Ns>
SplitMemory<Ns> memory_of(Schedule& schedule, SplitScratch<Ns>& scratch);

Schedule blank_schedule(const SplitParams& params);

template <class Ns = std::int64_t>
Schedule make_schedule(const Batch& batch);

// The segments of each worker, in order. Those of requests with tokens come first.
std::vector<std::vector<Segment>> segments_of(const Batch& batch, const Schedule& schedule);

// The same, without the segments of requests that have no tokens.
std::vector<std::vector<Segment>> busy_segments_of(const Batch& batch, const Schedule& schedule);

}  // namespace flashmla::schedule
