// Checks of one tensor, which are chained:
//   TensorCheck("q", q).on(device).dtype({DType::bf16}).shape({{"b", 2}, {"h_q", any_size}});
#pragma once

#include <array>
#include <initializer_list>
#include <string>

#include "flashmla/tensor_view.h"

namespace flashmla::api {

inline constexpr std::int64_t any_size = -1;

// A dimension: its name in messages, and the size that is wanted (or any_size).
struct Dimension {
  const char* name;
  std::int64_t size;
};

class TensorCheck {
 public:
  // The tensor must be given. Its sizes and strides must be ≥ 0, and its offsets must fit 64 bits.
  // Where it has elements, its data must not be null and must be aligned to the size of an element.
  // A tensor without elements may have any strides ≥ 0.
  TensorCheck(std::string argument, const TensorView& tensor);

  const TensorCheck& on(const Device& device) const;
  const TensorCheck& dtype(std::initializer_list<DType> wanted) const;
  const TensorCheck& shape(std::initializer_list<Dimension> wanted) const;
  const TensorCheck& last_dimension_contiguous() const;
  const TensorCheck& contiguous() const;
  const TensorCheck& writable() const;  // no element is reached by two index tuples

 private:
  [[noreturn]] void fail(std::string given, std::string wanted) const;

  std::string argument_;
  const TensorView& tensor_;
  bool empty_;  // a tensor without elements
};

}  // namespace flashmla::api
