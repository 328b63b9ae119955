// The tensors of a fuzzed call of the C API. Every tensor has exactly the memory that its shape and
// strides need, so that AddressSanitizer sees an access outside. A tensor that needs too much has
// no memory.
#pragma once

#include <cstdlib>
#include <cstring>
#include <deque>
#include <memory>
#include <vector>

#include "flashmla/c_api.h"
#include "flashmla/tensor_view.h"
#include "tests/fuzz/byte_source.h"
#include "tests/fuzz/demand.h"

namespace flashmla::fuzz {

inline constexpr std::int64_t max_bytes = 1 << 17;  // of a tensor or a workspace

inline void expect_sane(flashmla_status status) {
  FLASHMLA_DEMAND(status != FLASHMLA_INTERNAL_ERROR && status != FLASHMLA_DEVICE_FAILURE);
  FLASHMLA_DEMAND(status == FLASHMLA_OK || std::strlen(flashmla_last_error()) > 0);
}

struct Free {
  void operator()(void* memory) const { std::free(memory); }
};
using Memory = std::unique_ptr<void, Free>;

inline Memory workspace(std::size_t bytes) {
  if (bytes > static_cast<std::size_t>(8 * max_bytes))
    return nullptr;
  return Memory(std::aligned_alloc(256, (bytes + 255) / 256 * 256));
}

// The tensors of a call.
class Tensors {
 public:
  explicit Tensors(ByteSource& source) : source_(source) {}

  flashmla_tensor* add(std::int32_t dtype, std::initializer_list<std::int64_t> shape) {
    flashmla_tensor& tensor = tensors_.emplace_back();
    expect_sane(flashmla_tensor_init(&tensor, sizeof tensor, nullptr, dtype,
                                     static_cast<std::int32_t>(shape.size()), shape.begin()));
    return &tensor;
  }

  // Replaces a field of some tensor.
  void spoil() {
    flashmla_tensor& tensor = tensors_[static_cast<std::size_t>(source_.byte()) % tensors_.size()];
    const std::int64_t d = source_.between(0, 4);
    switch (source_.byte() % 8) {
      case 0:
      case 1:
        tensor.shape[d] = source_.edge(tensor.shape[d]);
        break;
      case 2:
      case 3:
        tensor.strides[d] = source_.edge(tensor.strides[d]);
        break;
      case 4:
        tensor.dtype = static_cast<std::int32_t>(source_.edge(tensor.dtype));
        break;
      case 5:
        tensor.rank = static_cast<std::int32_t>(source_.edge(tensor.rank));
        break;
      case 6:
        (source_.flag() ? tensor.device_type : tensor.device_index) =
            static_cast<std::int32_t>(source_.edge(1));
        break;
      default:
        tensor.struct_size = static_cast<std::size_t>(source_.edge(8));
        if (tensor.struct_size > sizeof tensor && tensor.struct_size <= 4096)
          tensor.struct_size = sizeof tensor;  // the struct has no more memory
    }
  }

  // Gives each tensor its memory, filled from the remaining bytes of the fuzzer.
  void allocate() {
    for (flashmla_tensor& tensor : tensors_) {
      const std::int64_t bytes = claimed_bytes(tensor);
      if (bytes < 0)
        continue;
      auto* memory = static_cast<std::uint8_t*>(std::malloc(static_cast<std::size_t>(bytes)));
      memory_.emplace_back(memory);
      std::uint32_t state = 1 + static_cast<std::uint32_t>(source_.word(2));
      for (std::int64_t i = 0; i < bytes; ++i) {
        state = state * 1664525u + 1013904223u;
        memory[i] = static_cast<std::uint8_t>(state >> 24);
      }
      if (tensor.dtype == FLASHMLA_I32 || tensor.dtype == FLASHMLA_I64)
        fill_integers(tensor, memory, bytes);
      tensor.data = memory;
    }
  }

 private:
  // −1 where the shape is not valid or needs too much memory.
  static std::int64_t claimed_bytes(const flashmla_tensor& tensor) {
    if (tensor.rank < 1 || tensor.rank > FLASHMLA_MAX_RANK)
      return -1;
    std::int64_t elements = 1;
    for (std::int32_t d = 0; d < tensor.rank; ++d) {
      if (tensor.shape[d] == 0)
        return 0;
      std::int64_t step = 0;
      if (tensor.shape[d] < 0 || tensor.strides[d] < 0 ||
          __builtin_mul_overflow(tensor.shape[d] - 1, tensor.strides[d], &step) ||
          __builtin_add_overflow(elements, step, &elements) || elements > max_bytes)
        return -1;
    }
    const std::int64_t bytes =
        elements * static_cast<std::int64_t>(size_of(static_cast<DType>(tensor.dtype)));
    return bytes > max_bytes ? -1 : bytes;
  }

  // Most numbers are small, and some may have any size.
  void fill_integers(const flashmla_tensor& tensor, std::uint8_t* memory, std::int64_t bytes) {
    const std::size_t size = size_of(static_cast<DType>(tensor.dtype));
    for (std::size_t at = 0; at + size <= static_cast<std::size_t>(bytes); at += size) {
      const std::int64_t value = source_.byte() % 8 == 0 ? source_.edge(3) : source_.between(0, 7);
      std::memcpy(memory + at, &value, size);
    }
  }

  ByteSource& source_;
  std::deque<flashmla_tensor> tensors_;
  std::vector<Memory> memory_;
};

}  // namespace flashmla::fuzz
