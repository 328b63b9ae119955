// Memory for a replay.
#pragma once

#include <cstddef>
#include <memory>

namespace flashmla::tools {

// Memory aligned for workspaces and tensors, full of NaN at first.
class Buffer {
 public:
  Buffer() = default;
  explicit Buffer(std::size_t bytes);

  std::byte* data() const { return data_.get(); }
  std::size_t bytes() const { return bytes_; }
  void poison();                 // fills it with NaN
  void grow(std::size_t bytes);  // to at least so many; what it held is lost where it grows

  template <class T>
  T* as() const {
    return reinterpret_cast<T*>(data_.get());
  }

 private:
  struct Free {
    void operator()(std::byte* data) const;
  };

  std::unique_ptr<std::byte, Free> data_;
  std::size_t bytes_ = 0;
};

}  // namespace flashmla::tools
