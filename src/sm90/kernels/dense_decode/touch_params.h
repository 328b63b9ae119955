// Fetching the parameters of a kernel.
#pragma once

#include <cstdint>

#include "sm90/kernels/dense_decode/params.h"
#include "sm90/ptx/load_store.h"

namespace flashmla::sm90::dense_decode {

// Reads a word of each line of the constant cache that the parameters fill, all loads together.
// Every launch finds these lines cold, and a role that reads them one after the other would wait
// for each. `sink` is a word of shared memory that nothing reads; without it the compiler would
// drop the loads.
FLASHMLA_DEVICE void touch(const Params& p, std::uint32_t sink) {
  constexpr int line_words = 16;
  constexpr int words = sizeof(Params) / 4;
  const auto* const word = reinterpret_cast<const std::uint32_t*>(&p);
  std::uint32_t all = word[words - 1];
#pragma unroll
  for (int i = 0; i < words; i += line_words)
    all ^= word[i];
  ptx::store_shared(sink, __uint_as_float(all));
}

}  // namespace flashmla::sm90::dense_decode
