#include "tools/replay/buffer.h"

#include <algorithm>

namespace flashmla::tools {

Buffer::Buffer(support::Memory& memory, std::size_t bytes)
    : memory_(&memory), data_(memory.allocate(std::max<std::size_t>(bytes, 1))), bytes_(bytes) {
  poison();
}

void Buffer::poison() {
  if (bytes_ > 0)
    memory_->set_bytes(data(), std::byte{0xff}, bytes_);
}

void Buffer::grow(std::size_t bytes) {
  if (bytes > bytes_)
    *this = Buffer(*memory_, bytes);
}

}  // namespace flashmla::tools
