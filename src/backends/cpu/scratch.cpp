#include "backends/cpu/scratch.h"

#include <algorithm>
#include <memory>
#include <new>

#include "backends/cpu/kernel/table.h"

namespace flashmla::backends::cpu {

namespace {

constexpr std::align_val_t alignment{scratch_alignment};

struct Release {
  void operator()(float* memory) const { ::operator delete[](memory, alignment); }
};

}  // namespace

float* thread_scratch(std::size_t count) {
  thread_local std::unique_ptr<float[], Release> memory;
  thread_local std::size_t capacity = 0;
  if (count > capacity) {
    memory.reset();
    capacity = 0;
    memory.reset(static_cast<float*>(::operator new[](count * sizeof(float), alignment)));
    std::fill_n(memory.get(), count, 0.0f);
    capacity = count;
  }
  return memory.get();
}

}  // namespace flashmla::backends::cpu
