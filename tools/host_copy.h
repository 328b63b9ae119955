// A tensor on the host, whatever device it is on.
#pragma once

#include <cstddef>
#include <vector>

#include "flashmla/tensor_view.h"
#include "support/memory.h"

namespace flashmla::tools {

class HostCopy {
 public:
  // A copy of a tensor in `memory`, with the same strides.
  HostCopy(support::Memory& memory, const TensorView& tensor) : view_(tensor) {
    std::int64_t elements = tensor.element_count() > 0 ? 1 : 0;
    for (int d = 0; d < tensor.rank && elements > 0; ++d)
      elements += (tensor.shape[d] - 1) * tensor.strides[d];
    bytes_.resize(static_cast<std::size_t>(elements) * size_of(tensor.dtype));
    memory.download(bytes_, static_cast<const std::byte*>(tensor.data));
    view_.data = bytes_.data();
    view_.device = {};
  }
  HostCopy(const HostCopy&) = delete;
  HostCopy& operator=(const HostCopy&) = delete;

  const TensorView& view() const { return view_; }

 private:
  TensorView view_;
  std::vector<std::byte> bytes_;
};

}  // namespace flashmla::tools
