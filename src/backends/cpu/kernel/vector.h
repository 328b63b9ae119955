// Vectors of the instruction set for which the including file is compiled. They are vector types of
// the compiler, without intrinsics. The including file defines FLASHMLA_CPU_ISA (the namespace) and
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

// 2^x for x ≤ 0, within 2 units in the last place. It is exactly 1 at 0 and 0 below −125. NaN stays
// NaN. x is an integer plus f, and 2^f = 1 + f · p(f) on |f| ≤ 1/2. The coefficients of p are those
// of the minimax polynomial, found by Lawson's iteration.
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
  const Words exponent = (Words)shifted << 23;  // the low bits of `shifted` are the integer
  const Floats value = (Floats)((Words)p + exponent);
  const Floats normal = x < -125.0f ? Floats{} : value;
  return x == x ? normal : x;
}

// `step` is a power of two. Lane l of the result is a[l] + a[l ^ step] where bit `step` of l is 0,
// and b[l] + b[l ^ step] where it is 1.
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

// Lane l of the result is the sum of all lanes of vectors[l]. Overwrites `vectors` [lanes].
template <int step = lanes / 2>
inline Floats sums_of_lanes(Floats* vectors) {
  for (int i = 0; i < step; ++i)
    vectors[i] = fold<step>(vectors[i], vectors[i + step]);
  if constexpr (step == 1)
    return vectors[0];
  else
    return sums_of_lanes<step / 2>(vectors);
}

// Divides begin … end − 1 as evenly as possible into groups of at most `max_count`, and calls
// body(first, count) for each group.
template <class Body>
inline void in_even_groups(int begin, int end, int max_count, Body body) {
  int groups = (end - begin + max_count - 1) / max_count;
  for (int first = begin; first < end; --groups) {
    const int count = (end - first + groups - 1) / groups;
    body(first, count);
    first += count;
  }
}

// Calls body<count>() for a count from 1 to max_count that is known only at run time.
template <int max_count, class Body>
inline void with_constant(int count, Body body) {
  if constexpr (max_count > 1) {
    if (count < max_count)
      return with_constant<max_count - 1>(count, body);
  }
  body.template operator()<max_count>();
}

}  // namespace flashmla::backends::cpu::FLASHMLA_CPU_ISA
