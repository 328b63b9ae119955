// Vectors of the instruction set that the including file is compiled for, as the compiler's own
// vector types: no intrinsics. A file chooses with FLASHMLA_CPU_ISA (namespace) and
// FLASHMLA_CPU_VECTOR_BYTES.
#pragma once

#include <cstdint>

#ifndef FLASHMLA_CPU_ISA
#define FLASHMLA_CPU_ISA baseline
#define FLASHMLA_CPU_VECTOR_BYTES 16
#endif

namespace flashmla::backends::cpu::FLASHMLA_CPU_ISA {

inline constexpr int vector_bytes = FLASHMLA_CPU_VECTOR_BYTES;
inline constexpr int lanes = vector_bytes / 4;

typedef float Floats __attribute__((vector_size(vector_bytes)));
typedef std::int32_t Ints __attribute__((vector_size(vector_bytes)));
typedef std::uint32_t Words __attribute__((vector_size(vector_bytes)));

template <class Vector = Floats>
inline Vector load(const void* source) {
  Vector value;
  __builtin_memcpy(&value, source, sizeof value);
  return value;
}

template <class Vector>
inline void store(void* target, Vector value) {
  __builtin_memcpy(target, &value, sizeof value);
}

inline Floats broadcast(float value) {
  return value - Floats{};
}

inline Floats larger(Floats a, Floats b) {
  return a > b ? a : b;
}

// 2^x for x ≤ 0 within 2 units in the last place; exactly 1 at 0, 0 below −125, NaN stays NaN.
// 2^f = 1 + f · p(f) on |f| ≤ 1/2, where p is the minimax polynomial (Lawson's iteration).
inline Floats exp2(Floats x) {
  const Floats shift = broadcast(12582912.0f);  // 1.5 · 2^23: adding it rounds to an integer
  const Floats clamped = x < -125.0f ? broadcast(-125.0f) : x;
  const Floats shifted = clamped + shift;
  const Floats f = clamped - (shifted - shift);
  Floats p = broadcast(0x1.41fbbap-13f);
  p = p * f + 0x1.5f3e54p-10f;
  p = p * f + 0x1.3b2d4cp-7f;
  p = p * f + 0x1.c6aee8p-5f;
  p = p * f + 0x1.ebfbdcp-3f;
  p = p * f + 0x1.62e430p-1f;
  p = p * f + 1.0f;
  const Words exponent = (Words)shifted << 23;  // the integer stands in the low bits
  const Floats value = (Floats)((Words)p + exponent);
  const Floats normal = x < -125.0f ? Floats{} : value;
  return x == x ? normal : x;
}

// Lane l of the result: a[l] + a[l ^ step] where bit `step` of l is clear, b[l] + b[l ^ step] where
// set.
template <int step>
inline Floats fold(Floats a, Floats b) {
#define FLASHMLA_OWN(l) (((l) & step) != 0 ? lanes + (l) : (l))
#define FLASHMLA_OTHER(l) (((l) & step) != 0 ? lanes + ((l) ^ step) : ((l) ^ step))
#define FLASHMLA_FOUR(which, l) which(l), which((l) + 1), which((l) + 2), which((l) + 3)
#if FLASHMLA_CPU_VECTOR_BYTES == 16
  return __builtin_shufflevector(a, b, FLASHMLA_FOUR(FLASHMLA_OWN, 0)) +
         __builtin_shufflevector(a, b, FLASHMLA_FOUR(FLASHMLA_OTHER, 0));
#elif FLASHMLA_CPU_VECTOR_BYTES == 32
  return __builtin_shufflevector(a, b, FLASHMLA_FOUR(FLASHMLA_OWN, 0),
                                 FLASHMLA_FOUR(FLASHMLA_OWN, 4)) +
         __builtin_shufflevector(a, b, FLASHMLA_FOUR(FLASHMLA_OTHER, 0),
                                 FLASHMLA_FOUR(FLASHMLA_OTHER, 4));
#else
  return __builtin_shufflevector(a, b, FLASHMLA_FOUR(FLASHMLA_OWN, 0),
                                 FLASHMLA_FOUR(FLASHMLA_OWN, 4), FLASHMLA_FOUR(FLASHMLA_OWN, 8),
                                 FLASHMLA_FOUR(FLASHMLA_OWN, 12)) +
         __builtin_shufflevector(a, b, FLASHMLA_FOUR(FLASHMLA_OTHER, 0),
                                 FLASHMLA_FOUR(FLASHMLA_OTHER, 4), FLASHMLA_FOUR(FLASHMLA_OTHER, 8),
                                 FLASHMLA_FOUR(FLASHMLA_OTHER, 12));
#endif
#undef FLASHMLA_FOUR
#undef FLASHMLA_OTHER
#undef FLASHMLA_OWN
}

// Lane l of the result is the sum of all lanes of parts[l]. Destroys `parts` [lanes].
template <int step = lanes / 2>
inline Floats sums_of_lanes(Floats* parts) {
  for (int i = 0; i < step; ++i)
    parts[i] = fold<step>(parts[i], parts[i + step]);
  if constexpr (step == 1)
    return parts[0];
  else
    return sums_of_lanes<step / 2>(parts);
}

// Rows are taken `largest` or fewer at a time, as evenly as possible: body(first, count).
template <class Body>
inline void in_even_groups(int begin, int end, int largest, Body body) {
  int groups = (end - begin + largest - 1) / largest;
  for (int first = begin; first < end; --groups) {
    const int count = (end - first + groups - 1) / groups;
    body(first, count);
    first += count;
  }
}

// body<count>() for a count of 1 … largest that is known at run time only.
template <int largest, class Body>
inline void with_constant(int count, Body body) {
  if constexpr (largest > 1) {
    if (count < largest)
      return with_constant<largest - 1>(count, body);
  }
  body.template operator()<largest>();
}

}  // namespace flashmla::backends::cpu::FLASHMLA_CPU_ISA
