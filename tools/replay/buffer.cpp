#include "tools/replay/buffer.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <new>

#include "flashmla/tensor_view.h"

namespace flashmla::tools {

Buffer::Buffer(std::size_t bytes) : bytes_(bytes) {
  const std::size_t rounded = (std::max<std::size_t>(bytes, 1) + workspace_alignment - 1) /
                              workspace_alignment * workspace_alignment;
  data_.reset(static_cast<std::byte*>(std::aligned_alloc(workspace_alignment, rounded)));
  if (data_ == nullptr)
    throw std::bad_alloc();
  poison();
}

void Buffer::Free::operator()(std::byte* data) const {
  std::free(data);
}

void Buffer::poison() {
  if (bytes_ > 0)
    std::memset(data_.get(), 0xff, bytes_);
}

void Buffer::grow(std::size_t bytes) {
  if (bytes > bytes_ || data_ == nullptr)
    *this = Buffer(bytes);
}

}  // namespace flashmla::tools
