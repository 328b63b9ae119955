// Checks of one tensor, chained: check("q", q).on(device).dtype(bf16).shape({b, s_q, h_q,
// d}).rows();
#pragma once

#include <array>
#include <initializer_list>
#include <string>

#include "flashmla/tensor_view.h"

namespace flashmla::api {

inline constexpr std::int64_t any_size = -1;

// A dimension: its name in messages and the size wanted (any_size: any).
struct Dimension {
  const char* name;
  std::int64_t size;
};

class TensorCheck {
 public:
  // The tensor must be given, with sizes ≥ 0, strides ≥ 0, offsets that fit 64 bits, data that is
  // not null where it has elements and that is aligned to its element size. One without elements
  // may have any strides ≥ 0.
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
