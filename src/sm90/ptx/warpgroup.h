// Registers of warpgroups, named barriers, proxy fences.
#pragma once

#include <cstdint>

#include "sm90/ptx/device.h"

namespace flashmla::sm90::ptx {

template <int Registers>
FLASHMLA_DEVICE void raise_registers() {
  asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(Registers));
}

template <int Registers>
FLASHMLA_DEVICE void lower_registers() {
  asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(Registers));
}

// Sets the registers of a thread, which has had `Before` since its kernel was launched.
template <int Before, int Registers>
FLASHMLA_DEVICE void set_registers() {
  if constexpr (Registers > Before)
    raise_registers<Registers>();
  else
    lower_registers<Registers>();
}

// Arrives at the named barrier `id` (1 … 15) of `threads` threads, and waits for all of them.
FLASHMLA_DEVICE void barrier_sync(int id, int threads) {
  asm volatile("bar.sync %0, %1;" ::"r"(id), "r"(threads) : "memory");
}

// Arrives without waiting.
FLASHMLA_DEVICE void barrier_arrive(int id, int threads) {
  asm volatile("bar.arrive %0, %1;" ::"r"(id), "r"(threads) : "memory");
}

// Orders ordinary accesses of shared memory before those of the tensor cores and the copy engine.
FLASHMLA_DEVICE void fence_async_proxy() {
  asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
}

// True in one thread of the warp, always the same one. The compiler knows that it is one thread. So
// it issues copies in this branch without the loop over threads that it adds where a comparison of
// thread numbers makes the choice.
FLASHMLA_DEVICE bool elected() {
  std::uint32_t chosen;
  asm volatile(
      "{\n"
      ".reg .pred one;\n"
      "elect.sync _|one, 0xffffffff;\n"
      "selp.u32 %0, 1, 0, one;\n"
      "}"
      : "=r"(chosen));
  return chosen != 0;
}

// A value that all threads of the warp hold. The compiler then knows that it is uniform.
FLASHMLA_DEVICE std::uint32_t uniform(std::uint32_t value) {
  return __shfl_sync(0xffffffffu, value, 0);
}

}  // namespace flashmla::sm90::ptx
