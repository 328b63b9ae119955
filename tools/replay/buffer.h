// Memory for a replay.
#pragma once

#include <cstddef>
#include <memory>
#include <span>

#include "support/memory.h"

namespace flashmla::tools {

// Memory of a device, aligned for workspaces and tensors, full of NaN at first.
class Buffer {
 public:
  Buffer(support::Memory& memory, std::size_t bytes);

  std::byte* data() const { return data_.get(); }
  std::size_t bytes() const { return bytes_; }
  void poison();                 // fills it with NaN
  void grow(std::size_t bytes);  // makes room for at least `bytes`; growing loses the contents

  // Copies numbers to the start of the buffer, which grows if it is too small.
  template <class T>
  void upload(std::span<const T> numbers) {
    grow(numbers.size_bytes());
    memory_->upload(data(), std::as_bytes(numbers));
  }

  template <class T>
  T* as() const {
    return reinterpret_cast<T*>(data_.get());
  }

 private:
  support::Memory* memory_;
  std::shared_ptr<std::byte> data_;
  std::size_t bytes_;
};

}  // namespace flashmla::tools
