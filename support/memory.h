// Memory for the tensors of a case, on whatever device the case runs, surrounded by guards.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "flashmla/dtype.h"
#include "flashmla/tensor_view.h"
#include "support/stopwatch.h"

namespace flashmla::support {

// Where the tensors of a case live, and what fills and times them there. Transfers are complete
// when they return. On a GPU everything is in the order of the default stream.
class Memory {
 public:
  virtual ~Memory() = default;

  virtual Device device() const = 0;
  // Aligned to workspace_alignment; freed with the pointer.
  virtual std::shared_ptr<std::byte> allocate(std::size_t bytes) = 0;
  virtual void upload(std::byte* to, std::span<const std::byte> from) = 0;
  virtual void download(std::span<std::byte> to, const std::byte* from) = 0;

  virtual void set_bytes(std::byte* to, std::byte value, std::size_t bytes) = 0;
  // Row i of `rows` consecutive ones: `columns` numbers of fill_normal(keys[i]), as bf16 or fp16.
  // The keys lie in this memory too.
  virtual void fill_rows(std::byte* to, DType type, std::int64_t columns, const std::uint64_t* keys,
                         std::int64_t rows) = 0;

  // Returns when all work on the device is done.
  virtual void wait() = 0;
  virtual std::unique_ptr<Stopwatch> stopwatch() = 0;
};

class HostMemory : public Memory {
 public:
  Device device() const override { return {}; }
  std::shared_ptr<std::byte> allocate(std::size_t bytes) override;
  void upload(std::byte* to, std::span<const std::byte> from) override;
  void download(std::span<std::byte> to, const std::byte* from) override;
  void set_bytes(std::byte* to, std::byte value, std::size_t bytes) override;
  void fill_rows(std::byte* to, DType type, std::int64_t columns, const std::uint64_t* keys,
                 std::int64_t rows) override;
  void wait() override {}
  std::unique_ptr<Stopwatch> stopwatch() override { return std::make_unique<HostStopwatch>(); }
};

// A piece of that memory with a guard on either side, and an image of it on the host. The image is
// filled with bytes 0xFF (a NaN in every floating type) until something else is written to it.
class GuardedBuffer {
 public:
  GuardedBuffer(Memory& memory, std::size_t bytes);

  // The host image without guards; upload() sends it.
  std::span<std::byte> image();
  template <class T>
  std::span<T> image_as() {
    return {reinterpret_cast<T*>(image().data()), image().size() / sizeof(T)};
  }
  void upload();

  std::byte* data() const { return data_.get() + guard_bytes; }
  std::size_t bytes() const { return image_.size() - 2 * guard_bytes; }

  // What the memory holds now, guards excluded.
  std::vector<std::byte> download() const;
  // Whether the memory, guards included, is still as it was uploaded.
  bool unchanged() const;
  bool guards_unchanged() const;

  static constexpr std::size_t guard_bytes = 256;

 private:
  std::vector<std::byte> download_all() const;

  Memory* memory_;
  std::vector<std::byte> image_;  // guards included
  std::shared_ptr<std::byte> data_;
};

}  // namespace flashmla::support
