// Figures of other libraries that were recorded before: benchmarks/reference/*.json, which the
// build embeds, or files of the same form.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "tools/shapes.h"

namespace flashmla::tools {

// One library's call, or ours: single calls on a flushed cache, and back to back. Seconds.
struct CallTime {
  double cold = 0;
  double hot = 0;
};

// What was recorded for a shape; of several records of a library the fastest counts, cold and hot
// each.
struct Recorded {
  std::optional<CallTime> upstream;
  CallTime best;          // of all libraries
  std::string best_cold;  // whose that is
  std::string best_hot;
};

class Recordings {
 public:
  // `json` has an array `table` with a row for each shape: its text ("1,1,16,65536,varlen"), its
  // tokens, and either cold_us and hot_us (upstream's) or, under the name of each library,
  // [cold, hot] in microseconds. Throws BadInput naming `source`.
  void add(std::string_view source, std::string_view json, const std::string& table);

  // Of a shape with so many tokens altogether.
  std::optional<Recorded> find(const Shape& shape, std::int64_t tokens) const;

  std::int64_t shapes() const { return static_cast<std::int64_t>(times_.size()); }
  const std::vector<std::string>& sources() const { return sources_; }

 private:
  // By shape and tokens, as text; then by library.
  std::map<std::string, std::map<std::string, CallTime>> times_;
  std::vector<std::string> sources_;
};

// Figures of one kind and format: `table` names them ("dense_decode_bf16"). The files of the build
// that have it, for a card with this name ("NVIDIA H200"); none for other cards.
Recordings recordings_of_card(std::string_view device_name, const std::string& table);

// Throws BadInput, also where a file lacks the table.
Recordings recordings_in(const std::vector<std::string>& paths, const std::string& table);

// exp(mean of ln); 0 without values.
double geometric_mean(const std::vector<double>& values);

}  // namespace flashmla::tools
