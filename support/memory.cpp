#include "support/memory.h"

#include <algorithm>
#include <cstring>
#include <new>

#include "support/numeric.h"
#include "support/parallel.h"
#include "support/random.h"

namespace flashmla::support {

std::shared_ptr<std::byte> HostMemory::allocate(std::size_t bytes) {
  constexpr std::align_val_t alignment{workspace_alignment};
  auto* data = static_cast<std::byte*>(::operator new(bytes, alignment));
  return {data, [](std::byte* p) { ::operator delete(p, std::align_val_t{workspace_alignment}); }};
}

void HostMemory::upload(std::byte* to, std::span<const std::byte> from) {
  if (!from.empty())  // an empty span may have a null pointer
    std::memcpy(to, from.data(), from.size());
}

void HostMemory::download(std::span<std::byte> to, const std::byte* from) {
  if (!to.empty())
    std::memcpy(to.data(), from, to.size());
}

void HostMemory::set_bytes(std::byte* to, std::byte value, std::size_t bytes) {
  if (bytes > 0)
    std::memset(to, std::to_integer<int>(value), bytes);
}

void HostMemory::fill_rows(std::byte* to, DType type, std::int64_t columns,
                           const std::uint64_t* keys, std::int64_t rows) {
  constexpr std::int64_t rows_of_a_task = 64;
  auto* const numbers = reinterpret_cast<std::uint16_t*>(to);
  const auto width = static_cast<std::size_t>(columns);
  parallel_for((rows + rows_of_a_task - 1) / rows_of_a_task, [&](std::int64_t task) {
    std::vector<float> row(width);
    const std::int64_t end = std::min(rows, (task + 1) * rows_of_a_task);
    for (std::int64_t i = task * rows_of_a_task; i < end; ++i) {
      fill_normal(row, keys[i]);
      encode(type, row, {numbers + i * columns, width});
    }
  });
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
