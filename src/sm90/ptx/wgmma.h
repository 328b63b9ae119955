// wgmma: matrix products of a warpgroup, D (64 × N, fp32, registers) += A (64 × 16) · B (16 × N).
// A comes from shared memory ("ss", a descriptor) or registers ("rs"), B from shared memory.
// `accumulate` 0 overwrites D.
//
// NOTE: wgmma_fence() must be called between a wait for a barrier and the next wgmma, and registers
// of D must be used only after wgmma_wait(). Otherwise the compiler serialises all wgmma.
#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <cstdint>
#include <type_traits>

#include "sm90/ptx/device.h"

namespace flashmla::sm90::ptx {

FLASHMLA_DEVICE void wgmma_fence() {
  asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
}

FLASHMLA_DEVICE void wgmma_commit() {
  asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
}

// Waits until at most `Pending` committed groups are not complete.
template <int Pending>
FLASHMLA_DEVICE void wgmma_wait() {
  asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(Pending) : "memory");
}

// Prevents the compiler from moving accesses of these registers over this point.
template <class Register, int N>
FLASHMLA_DEVICE void pin(Register (&registers)[N]) {
#pragma unroll
  for (int i = 0; i < N; ++i) {
    if constexpr (std::is_same_v<Register, float>)
      asm volatile("" : "+f"(registers[i])::"memory");
    else
      asm volatile("" : "+r"(registers[i])::"memory");
  }
}

template <class Register, int M, int N>
FLASHMLA_DEVICE void pin_matrix(Register (&registers)[M][N]) {
#pragma unroll
  for (int i = 0; i < M; ++i)
    pin(registers[i]);
}

// Accumulators as text and as operands.
#define FLASHMLA_D8 "%0, %1, %2, %3, %4, %5, %6, %7"
#define FLASHMLA_D16 \
  FLASHMLA_D8        \
  ", %8, %9, %10, %11, %12, %13, %14, %15"
#define FLASHMLA_D32 \
  FLASHMLA_D16       \
  ", %16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31"
#define FLASHMLA_D64                                                                      \
  FLASHMLA_D32                                                                            \
  ", %32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, %48" \
  ", %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63"
#define FLASHMLA_D96                                                                      \
  FLASHMLA_D64                                                                            \
  ", %64, %65, %66, %67, %68, %69, %70, %71, %72, %73, %74, %75, %76, %77, %78, %79, %80" \
  ", %81, %82, %83, %84, %85, %86, %87, %88, %89, %90, %91, %92, %93, %94, %95"
#define FLASHMLA_D128                                                                      \
  FLASHMLA_D96                                                                             \
  ", %96, %97, %98, %99, %100, %101, %102, %103, %104, %105, %106, %107, %108, %109, %110" \
  ", %111, %112, %113, %114, %115, %116, %117, %118, %119, %120, %121, %122, %123, %124"   \
  ", %125, %126, %127"
#define FLASHMLA_R4(d, i) "+f"(d[i]), "+f"(d[(i) + 1]), "+f"(d[(i) + 2]), "+f"(d[(i) + 3])
#define FLASHMLA_R8(d, i) FLASHMLA_R4(d, i), FLASHMLA_R4(d, (i) + 4)
#define FLASHMLA_R16(d, i) FLASHMLA_R8(d, i), FLASHMLA_R8(d, (i) + 8)
#define FLASHMLA_R32(d, i) FLASHMLA_R16(d, i), FLASHMLA_R16(d, (i) + 16)
#define FLASHMLA_R64(d, i) FLASHMLA_R32(d, i), FLASHMLA_R32(d, (i) + 32)
#define FLASHMLA_R128(d, i)                                                 \
  FLASHMLA_R32(d, i), FLASHMLA_R32(d, (i) + 32), FLASHMLA_R32(d, (i) + 64), \
      FLASHMLA_R32(d, (i) + 96)

#define FLASHMLA_WGMMA_TEXT(n, type, d, flag, operands) \
  "{\n.reg .pred p;\nsetp.ne.b32 p, %" flag             \
  ", 0;\n"                                              \
  "wgmma.mma_async.sync.aligned.m64n" n "k16.f32." type "." type " {" d "}, " operands ";\n}"

// A and B K-major.
template <class T>
FLASHMLA_DEVICE void wgmma_n16_ss(float (&d)[8], std::uint64_t a, std::uint64_t b, int accumulate) {
  if constexpr (std::is_same_v<T, __nv_bfloat16>)
    asm volatile(FLASHMLA_WGMMA_TEXT("16", "bf16", FLASHMLA_D8, "10", "%8, %9, p, 1, 1, 0, 0")
                 : FLASHMLA_R8(d, 0)
                 : "l"(a), "l"(b), "r"(accumulate));
  else
    asm volatile(FLASHMLA_WGMMA_TEXT("16", "f16", FLASHMLA_D8, "10", "%8, %9, p, 1, 1, 0, 0")
                 : FLASHMLA_R8(d, 0)
                 : "l"(a), "l"(b), "r"(accumulate));
}

// A and B K-major.
template <class T>
FLASHMLA_DEVICE void wgmma_n32_ss(float (&d)[16], std::uint64_t a, std::uint64_t b,
                                  int accumulate) {
  if constexpr (std::is_same_v<T, __nv_bfloat16>)
    asm volatile(FLASHMLA_WGMMA_TEXT("32", "bf16", FLASHMLA_D16, "18", "%16, %17, p, 1, 1, 0, 0")
                 : FLASHMLA_R16(d, 0)
                 : "l"(a), "l"(b), "r"(accumulate));
  else
    asm volatile(FLASHMLA_WGMMA_TEXT("32", "f16", FLASHMLA_D16, "18", "%16, %17, p, 1, 1, 0, 0")
                 : FLASHMLA_R16(d, 0)
                 : "l"(a), "l"(b), "r"(accumulate));
}

// A and B K-major.
template <class T>
FLASHMLA_DEVICE void wgmma_n64_ss(float (&d)[32], std::uint64_t a, std::uint64_t b,
                                  int accumulate) {
  if constexpr (std::is_same_v<T, __nv_bfloat16>)
    asm volatile(FLASHMLA_WGMMA_TEXT("64", "bf16", FLASHMLA_D32, "34", "%32, %33, p, 1, 1, 0, 0")
                 : FLASHMLA_R32(d, 0)
                 : "l"(a), "l"(b), "r"(accumulate));
  else
    asm volatile(FLASHMLA_WGMMA_TEXT("64", "f16", FLASHMLA_D32, "34", "%32, %33, p, 1, 1, 0, 0")
                 : FLASHMLA_R32(d, 0)
                 : "l"(a), "l"(b), "r"(accumulate));
}

// B K-major.
template <class T>
FLASHMLA_DEVICE void wgmma_n16_rs(float (&d)[8], const std::uint32_t (&a)[4], std::uint64_t b,
                                  int accumulate) {
  if constexpr (std::is_same_v<T, __nv_bfloat16>)
    asm volatile(
        FLASHMLA_WGMMA_TEXT("16", "bf16", FLASHMLA_D8, "13", "{%8, %9, %10, %11}, %12, p, 1, 1, 0")
        : FLASHMLA_R8(d, 0)
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"(accumulate));
  else
    asm volatile(
        FLASHMLA_WGMMA_TEXT("16", "f16", FLASHMLA_D8, "13", "{%8, %9, %10, %11}, %12, p, 1, 1, 0")
        : FLASHMLA_R8(d, 0)
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"(accumulate));
}

// B K-major.
template <class T>
FLASHMLA_DEVICE void wgmma_n64_rs(float (&d)[32], const std::uint32_t (&a)[4], std::uint64_t b,
                                  int accumulate) {
  if constexpr (std::is_same_v<T, __nv_bfloat16>)
    asm volatile(FLASHMLA_WGMMA_TEXT("64", "bf16", FLASHMLA_D32, "37",
                                     "{%32, %33, %34, %35}, %36, p, 1, 1, 0")
                 : FLASHMLA_R32(d, 0)
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"(accumulate));
  else
    asm volatile(FLASHMLA_WGMMA_TEXT("64", "f16", FLASHMLA_D32, "37",
                                     "{%32, %33, %34, %35}, %36, p, 1, 1, 0")
                 : FLASHMLA_R32(d, 0)
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"(accumulate));
}

// A M-major (transposed in shared memory), B K-major.
template <class T>
FLASHMLA_DEVICE void wgmma_n16_ts(float (&d)[8], std::uint64_t a, std::uint64_t b, int accumulate) {
  if constexpr (std::is_same_v<T, __nv_bfloat16>)
    asm volatile(FLASHMLA_WGMMA_TEXT("16", "bf16", FLASHMLA_D8, "10", "%8, %9, p, 1, 1, 1, 0")
                 : FLASHMLA_R8(d, 0)
                 : "l"(a), "l"(b), "r"(accumulate));
  else
    asm volatile(FLASHMLA_WGMMA_TEXT("16", "f16", FLASHMLA_D8, "10", "%8, %9, p, 1, 1, 1, 0")
                 : FLASHMLA_R8(d, 0)
                 : "l"(a), "l"(b), "r"(accumulate));
}

// A M-major (transposed in shared memory), B K-major.
template <class T>
FLASHMLA_DEVICE void wgmma_n32_ts(float (&d)[16], std::uint64_t a, std::uint64_t b,
                                  int accumulate) {
  if constexpr (std::is_same_v<T, __nv_bfloat16>)
    asm volatile(FLASHMLA_WGMMA_TEXT("32", "bf16", FLASHMLA_D16, "18", "%16, %17, p, 1, 1, 1, 0")
                 : FLASHMLA_R16(d, 0)
                 : "l"(a), "l"(b), "r"(accumulate));
  else
    asm volatile(FLASHMLA_WGMMA_TEXT("32", "f16", FLASHMLA_D16, "18", "%16, %17, p, 1, 1, 1, 0")
                 : FLASHMLA_R16(d, 0)
                 : "l"(a), "l"(b), "r"(accumulate));
}

// A K-major, B N-major (transposed in shared memory). NOTE: a kernel of 512 threads, whose launch
// leaves 128 registers to a thread, cannot have products of 256 columns.
template <class T>
FLASHMLA_DEVICE void wgmma_n128_st(float (&d)[64], std::uint64_t a, std::uint64_t b,
                                   int accumulate) {
  if constexpr (std::is_same_v<T, __nv_bfloat16>)
    asm volatile(FLASHMLA_WGMMA_TEXT("128", "bf16", FLASHMLA_D64, "66", "%64, %65, p, 1, 1, 0, 1")
                 : FLASHMLA_R64(d, 0)
                 : "l"(a), "l"(b), "r"(accumulate));
  else
    asm volatile(FLASHMLA_WGMMA_TEXT("128", "f16", FLASHMLA_D64, "66", "%64, %65, p, 1, 1, 0, 1")
                 : FLASHMLA_R64(d, 0)
                 : "l"(a), "l"(b), "r"(accumulate));
}

// B N-major (transposed in shared memory).
template <class T>
FLASHMLA_DEVICE void wgmma_n128_rt(float (&d)[64], const std::uint32_t (&a)[4], std::uint64_t b,
                                   int accumulate) {
  if constexpr (std::is_same_v<T, __nv_bfloat16>)
    asm volatile(FLASHMLA_WGMMA_TEXT("128", "bf16", FLASHMLA_D64, "69",
                                     "{%64, %65, %66, %67}, %68, p, 1, 1, 1")
                 : FLASHMLA_R64(d, 0)
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"(accumulate));
  else
    asm volatile(FLASHMLA_WGMMA_TEXT("128", "f16", FLASHMLA_D64, "69",
                                     "{%64, %65, %66, %67}, %68, p, 1, 1, 1")
                 : FLASHMLA_R64(d, 0)
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"(accumulate));
}

// A K-major, B N-major (transposed in shared memory).
template <class T>
FLASHMLA_DEVICE void wgmma_n256_st(float (&d)[128], std::uint64_t a, std::uint64_t b,
                                   int accumulate) {
  if constexpr (std::is_same_v<T, __nv_bfloat16>)
    asm volatile(
        FLASHMLA_WGMMA_TEXT("256", "bf16", FLASHMLA_D128, "130", "%128, %129, p, 1, 1, 0, 1")
        : FLASHMLA_R128(d, 0)
        : "l"(a), "l"(b), "r"(accumulate));
  else
    asm volatile(
        FLASHMLA_WGMMA_TEXT("256", "f16", FLASHMLA_D128, "130", "%128, %129, p, 1, 1, 0, 1")
        : FLASHMLA_R128(d, 0)
        : "l"(a), "l"(b), "r"(accumulate));
}

// B N-major (transposed in shared memory).
template <class T>
FLASHMLA_DEVICE void wgmma_n256_rt(float (&d)[128], const std::uint32_t (&a)[4], std::uint64_t b,
                                   int accumulate) {
  if constexpr (std::is_same_v<T, __nv_bfloat16>)
    asm volatile(FLASHMLA_WGMMA_TEXT("256", "bf16", FLASHMLA_D128, "133",
                                     "{%128, %129, %130, %131}, %132, p, 1, 1, 1")
                 : FLASHMLA_R128(d, 0)
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"(accumulate));
  else
    asm volatile(FLASHMLA_WGMMA_TEXT("256", "f16", FLASHMLA_D128, "133",
                                     "{%128, %129, %130, %131}, %132, p, 1, 1, 1")
                 : FLASHMLA_R128(d, 0)
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"(accumulate));
}

#undef FLASHMLA_WGMMA_TEXT
#undef FLASHMLA_D8
#undef FLASHMLA_D16
#undef FLASHMLA_D32
#undef FLASHMLA_D64
#undef FLASHMLA_D96
#undef FLASHMLA_D128
#undef FLASHMLA_R4
#undef FLASHMLA_R8
#undef FLASHMLA_R16
#undef FLASHMLA_R32
#undef FLASHMLA_R64
#undef FLASHMLA_R128

}  // namespace flashmla::sm90::ptx
