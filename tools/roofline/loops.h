// The two loops whose rates make the roofline, compiled once for each instruction set.
#pragma once

#include <cstddef>
#include <cstdint>

namespace flashmla::tools {

struct RooflineLoops {
  // Reads `count` words.
  std::uint64_t (*read)(const std::uint64_t* words, std::size_t count);

  // Does `rounds` rounds of multiply-adds in fp32 on registers, `flop_per_round` operations each.
  float (*multiply_add)(std::int64_t rounds, float factor);
  std::int64_t flop_per_round;
};

extern const RooflineLoops baseline_loops;
extern const RooflineLoops avx2_loops;    // on x86-64 alone
extern const RooflineLoops avx512_loops;  // on x86-64 alone

}  // namespace flashmla::tools
