// Loads and stores of single values, asynchronous 16-byte copies, fast math.
#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <cstdint>

#include "sm90/ptx/device.h"

namespace flashmla::sm90::ptx {

FLASHMLA_DEVICE float load_shared(std::uint32_t address) {
  float value;
  asm volatile("ld.shared.f32 %0, [%1];" : "=f"(value) : "r"(address) : "memory");
  return value;
}

FLASHMLA_DEVICE std::uint32_t load_shared_byte(std::uint32_t address) {
  std::uint32_t value;
  asm volatile("ld.shared.u8 %0, [%1];" : "=r"(value) : "r"(address) : "memory");
  return value;
}

FLASHMLA_DEVICE uint4 load_shared_unit(std::uint32_t address) {
  uint4 value;
  asm volatile("ld.shared.v4.u32 {%0, %1, %2, %3}, [%4];"
               : "=r"(value.x), "=r"(value.y), "=r"(value.z), "=r"(value.w)
               : "r"(address)
               : "memory");
  return value;
}

FLASHMLA_DEVICE void store_shared(std::uint32_t address, float value) {
  asm volatile("st.shared.f32 [%0], %1;" ::"r"(address), "f"(value) : "memory");
}

FLASHMLA_DEVICE float2 load_shared_pair(std::uint32_t address) {
  float2 value;
  asm volatile("ld.shared.v2.f32 {%0, %1}, [%2];"
               : "=f"(value.x), "=f"(value.y)
               : "r"(address)
               : "memory");
  return value;
}

FLASHMLA_DEVICE void store_shared(std::uint32_t address, const float2& value) {
  asm volatile("st.shared.v2.f32 [%0], {%1, %2};" ::"r"(address), "f"(value.x), "f"(value.y)
               : "memory");
}

FLASHMLA_DEVICE void store_shared(std::uint32_t address, std::uint32_t value) {
  asm volatile("st.shared.u32 [%0], %1;" ::"r"(address), "r"(value) : "memory");
}

FLASHMLA_DEVICE void store_shared(std::uint32_t address, const uint4& value) {
  asm volatile("st.shared.v4.u32 [%0], {%1, %2, %3, %4};" ::"r"(address), "r"(value.x),
               "r"(value.y), "r"(value.z), "r"(value.w)
               : "memory");
}

// Copies 16 bytes from global to shared memory, or writes 16 zero bytes where `wanted` is false.
FLASHMLA_DEVICE void copy_async(std::uint32_t target, const void* source, bool wanted) {
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(target), "l"(source),
               "r"(wanted ? 16 : 0)
               : "memory");
}

// Copies 8 bytes from global to shared memory.
FLASHMLA_DEVICE void copy_async_half(std::uint32_t target, const void* source) {
  asm volatile("cp.async.ca.shared.global [%0], [%1], 8;" ::"r"(target), "l"(source) : "memory");
}

// Loads from global memory that bypass the L1 cache. They give `otherwise` or zeros where `wanted`
// is false. NOTE: the loads are predicated, because a branch would cost a jump.
FLASHMLA_DEVICE float load_if(bool wanted, const float* address, float otherwise) {
  float value;
  asm volatile(
      "{\n"
      ".reg .pred wanted;\n"
      "setp.ne.u32 wanted, %2, 0;\n"
      "mov.f32 %0, %3;\n"
      "@wanted ld.global.cg.f32 %0, [%1];\n"
      "}"
      : "=f"(value)
      : "l"(address), "r"(static_cast<std::uint32_t>(wanted)), "f"(otherwise)
      : "memory");
  return value;
}

FLASHMLA_DEVICE float2 load_pair_if(bool wanted, const void* address, float2 otherwise) {
  float2 value;
  asm volatile(
      "{\n"
      ".reg .pred wanted;\n"
      "setp.ne.u32 wanted, %3, 0;\n"
      "mov.f32 %0, %4;\n"
      "mov.f32 %1, %5;\n"
      "@wanted ld.global.cg.v2.f32 {%0, %1}, [%2];\n"
      "}"
      : "=f"(value.x), "=f"(value.y)
      : "l"(address), "r"(static_cast<std::uint32_t>(wanted)), "f"(otherwise.x), "f"(otherwise.y)
      : "memory");
  return value;
}

FLASHMLA_DEVICE uint4 load_unit_if(bool wanted, const void* address) {
  uint4 value;
  asm volatile(
      "{\n"
      ".reg .pred wanted;\n"
      "setp.ne.u32 wanted, %5, 0;\n"
      "mov.u32 %0, 0;\n"
      "mov.u32 %1, 0;\n"
      "mov.u32 %2, 0;\n"
      "mov.u32 %3, 0;\n"
      "@wanted ld.global.cg.v4.u32 {%0, %1, %2, %3}, [%4];\n"
      "}"
      : "=r"(value.x), "=r"(value.y), "=r"(value.z), "=r"(value.w)
      : "l"(address), "r"(static_cast<std::uint32_t>(wanted))
      : "memory");
  return value;
}

// Loads from memory that no running kernel writes. Volatile instructions keep their order, so that
// such a load is issued where it stands.
FLASHMLA_DEVICE uint4 load_constant_unit(const void* address) {
  uint4 value;
  asm volatile("ld.global.nc.L1::no_allocate.v4.u32 {%0, %1, %2, %3}, [%4];"
               : "=r"(value.x), "=r"(value.y), "=r"(value.z), "=r"(value.w)
               : "l"(address));
  return value;
}

FLASHMLA_DEVICE std::uint32_t load_constant_word(const void* address) {
  std::uint32_t value;
  asm volatile("ld.global.nc.u32 %0, [%1];" : "=r"(value) : "l"(address));
  return value;
}

FLASHMLA_DEVICE std::uint32_t load_constant_byte(const void* address) {
  std::uint32_t value;
  asm volatile("ld.global.nc.u8 %0, [%1];" : "=r"(value) : "l"(address));
  return value;
}

// The copies that this thread has started since the last call of this function become a group.
FLASHMLA_DEVICE void commit_copies() {
  asm volatile("cp.async.commit_group;" ::: "memory");
}

// Waits until all groups but the last `Pending` have arrived.
template <int Pending>
FLASHMLA_DEVICE void wait_for_groups() {
  asm volatile("cp.async.wait_group %0;" ::"n"(Pending) : "memory");
}

FLASHMLA_DEVICE void wait_for_copies() {
  asm volatile("cp.async.wait_all;" ::: "memory");
}

FLASHMLA_DEVICE float exp2(float x) {
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}

FLASHMLA_DEVICE float reciprocal(float x) {
  float y;
  asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}

FLASHMLA_DEVICE float log2(float x) {
  float y;
  asm("lg2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}

// Rounds two numbers to nearest even and packs them, the first one in the low half.
template <class T>
FLASHMLA_DEVICE std::uint32_t pack(float low, float high);

template <>
FLASHMLA_DEVICE std::uint32_t pack<__nv_bfloat16>(float low, float high) {
  std::uint32_t packed;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(packed) : "f"(high), "f"(low));
  return packed;
}

template <>
FLASHMLA_DEVICE std::uint32_t pack<__half>(float low, float high) {
  std::uint32_t packed;
  asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(packed) : "f"(high), "f"(low));
  return packed;
}

template <class T>
FLASHMLA_DEVICE float2 unpack(std::uint32_t packed);

template <>
FLASHMLA_DEVICE float2 unpack<__nv_bfloat16>(std::uint32_t packed) {
  return {__uint_as_float(packed << 16), __uint_as_float(packed & 0xffff0000u)};
}

template <>
FLASHMLA_DEVICE float2 unpack<__half>(std::uint32_t packed) {
  float2 values;
  asm("{\n"
      ".reg .b16 low, high;\n"
      "mov.b32 {low, high}, %2;\n"
      "cvt.f32.f16 %0, low;\n"
      "cvt.f32.f16 %1, high;\n"
      "}"
      : "=f"(values.x), "=f"(values.y)
      : "r"(packed));
  return values;
}

// sum + |pair|, for two fp16 numbers in each word.
FLASHMLA_DEVICE std::uint32_t add_magnitudes_half2(std::uint32_t sum, std::uint32_t pair) {
  std::uint32_t total;
  asm("{\n"
      ".reg .b32 magnitudes;\n"
      "abs.f16x2 magnitudes, %2;\n"
      "add.f16x2 %0, %1, magnitudes;\n"
      "}"
      : "=r"(total)
      : "r"(sum), "r"(pair));
  return total;
}

// unpack() as a volatile instruction: the compiler does not move it in front of an earlier volatile
// instruction.
template <class T>
FLASHMLA_DEVICE float2 unpack_in_order(std::uint32_t packed) {
  asm volatile("" : "+r"(packed));
  return unpack<T>(packed);
}

}  // namespace flashmla::sm90::ptx
