// Which results of a replay are compared with the oracle.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace flashmla::tools {

// One result, as the library computed it.
struct Sample {
  std::int64_t step = 0;          // of the replay, counted from 0
  std::int64_t request = 0;       // index in the trace
  std::int64_t request_step = 0;  // of the request, counted from 0
  std::int64_t query_token = 0;
  std::int64_t layer = 0;
  std::int64_t head = 0;
  std::vector<float> out;  // [d_v]
  float lse = 0;
};

// `count` distinct results drawn from 0 … total − 1, all of them where there are fewer.
class Sampler {
 public:
  Sampler(std::int64_t total, std::int64_t count, std::uint64_t key);

  // Which of the next `count` results are chosen, as offsets from the first of them.
  std::vector<std::int64_t> among_next(std::int64_t count);

 private:
  std::vector<std::int64_t> chosen_;  // ascending
  std::size_t next_ = 0;
  std::int64_t passed_ = 0;
};

}  // namespace flashmla::tools
