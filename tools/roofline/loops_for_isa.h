// The loops for the instruction set that the including file is compiled for: it names the bytes of
// a vector register, FLASHMLA_ROOFLINE_VECTOR_BYTES. No intrinsics: the compiler's own vector type.
#pragma once

#include <array>
#include <numeric>

#include "tools/roofline/loops.h"

#ifndef FLASHMLA_ROOFLINE_VECTOR_BYTES
#define FLASHMLA_ROOFLINE_VECTOR_BYTES 16
#endif

namespace flashmla::tools {

namespace {

constexpr std::size_t vector_bytes = FLASHMLA_ROOFLINE_VECTOR_BYTES;
typedef float Floats __attribute__((vector_size(vector_bytes)));
constexpr std::size_t lanes = vector_bytes / sizeof(float);

// Independent chains: enough to hide a multiply-add's latency of 4 on two ports, and few enough for
// 16 registers with the two operands that all share.
constexpr std::size_t chains = 12;

float multiply_add(std::int64_t rounds, float factor) {
  std::array<Floats, chains> sums;
  for (std::size_t i = 0; i < chains; ++i)
    sums[i] = Floats{} + static_cast<float>(i);
  const Floats scale = Floats{} + factor;
  const Floats step = Floats{} + 1.0f;
  for (std::int64_t round = 0; round < rounds; ++round)
    for (Floats& sum : sums)
      sum = sum * scale + step;
  Floats total{};
  for (const Floats& sum : sums)
    total += sum;
  float result = 0;
  for (std::size_t lane = 0; lane < lanes; ++lane)
    result += total[lane];
  return result;
}

std::uint64_t read(const std::uint64_t* words, std::size_t count) {
  return std::accumulate(words, words + count, std::uint64_t{0});
}

constexpr RooflineLoops loops{.read = read,
                              .multiply_add = multiply_add,
                              .flop_per_round = static_cast<std::int64_t>(2 * chains * lanes)};

}  // namespace

}  // namespace flashmla::tools
