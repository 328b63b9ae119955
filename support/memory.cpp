#include "support/memory.h"

#include <algorithm>
#include <cstring>
#include <new>

namespace flashmla::support {

std::shared_ptr<std::byte> HostMemory::allocate(std::size_t bytes) {
  constexpr std::align_val_t alignment{workspace_alignment};
  auto* data = static_cast<std::byte*>(::operator new(bytes, alignment));
  return {data, [](std::byte* p) { ::operator delete(p, std::align_val_t{workspace_alignment}); }};
}

void HostMemory::upload(std::byte* to, std::span<const std::byte> from) {
  if (!from.empty())  // of nothing there may be no pointer
    std::memcpy(to, from.data(), from.size());
}

void HostMemory::download(std::span<std::byte> to, const std::byte* from) {
  if (!to.empty())
    std::memcpy(to.data(), from, to.size());
}

GuardedBuffer::GuardedBuffer(Memory& memory, std::size_t bytes)
    : memory_(&memory),
      image_(bytes + 2 * guard_bytes, std::byte{0xff}),
      data_(memory.allocate(image_.size())) {}

std::span<std::byte> GuardedBuffer::image() {
  return std::span(image_).subspan(guard_bytes, bytes());
}

void GuardedBuffer::upload() {
  memory_->upload(data_.get(), image_);
}

std::vector<std::byte> GuardedBuffer::download_all() const {
  std::vector<std::byte> now(image_.size());
  memory_->download(now, data_.get());
  return now;
}

std::vector<std::byte> GuardedBuffer::download() const {
  std::vector<std::byte> now(bytes());
  memory_->download(now, data());
  return now;
}

bool GuardedBuffer::unchanged() const {
  return download_all() == image_;
}

bool GuardedBuffer::guards_unchanged() const {
  const std::vector<std::byte> now = download_all();
  const auto end = static_cast<std::ptrdiff_t>(guard_bytes);
  return std::equal(now.begin(), now.begin() + end, image_.begin()) &&
         std::equal(now.end() - end, now.end(), image_.end() - end);
}

}  // namespace flashmla::support
