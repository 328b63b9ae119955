// The index lists of query tokens, and the cached tokens that they name.
#pragma once

#include <cstdint>

#include "backends/cpu/cache_slots.h"
#include "flashmla/decode.h"
#include "flashmla/problem.h"

namespace flashmla::backends::cpu {

// The tensors of a sparse call with the shapes of decoding. Prefill becomes one request, whose
// cache is one page of s_kv tokens.
Inputs as_decoding(const Problem& problem, Inputs inputs);
Outputs as_decoding(const Problem& problem, Outputs outputs);

// The lists of one query token: the main list, and the extra list behind it. Both are cut to the
// entries that count. `inputs` come from as_decoding() and must outlive the object.
class IndexLists {
 public:
  IndexLists(const Problem& problem, const Inputs& inputs, std::int64_t request,
             std::int64_t token);

  std::int64_t entries() const { return main_.entries + extra_.entries; }

  // Finds the tokens of the entries first … end − 1. Slots outside the cache are left out. Returns
  // the number of tokens, at most end − first.
  std::int32_t gather(std::int64_t first, std::int64_t end, CachedToken* tokens) const;

 private:
  struct List {
    CacheSlots cache;
    const std::int32_t* slots;
    std::int64_t stride;   // between slots, in elements
    std::int64_t entries;  // how many entries count

    CachedToken* gather(std::int64_t first, std::int64_t end, CachedToken* tokens) const;
  };

  static List list_of(const TensorView& cache, KvFormat format, const TensorView& indices,
                      const TensorView& lengths, std::int64_t request, std::int64_t token,
                      std::int64_t length_index);

  List main_;
  List extra_;
};

}  // namespace flashmla::backends::cpu
