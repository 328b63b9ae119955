// GPU memory for the tensors of a case. Built where the CUDA toolkit is.
#pragma once

#include "support/memory.h"

namespace flashmla::support {

// Memory of a GPU. Throws std::runtime_error with the runtime's words when a call fails.
class CudaMemory : public Memory {
 public:
  explicit CudaMemory(std::int32_t device);

  Device device() const override { return {DeviceType::cuda, device_}; }
  std::shared_ptr<std::byte> allocate(std::size_t bytes) override;
  void upload(std::byte* to, std::span<const std::byte> from) override;
  void download(std::span<std::byte> to, const std::byte* from) override;
  void set_bytes(std::byte* to, std::byte value, std::size_t bytes) override;
  void fill_rows(std::byte* to, DType type, std::int64_t columns, const std::uint64_t* keys,
                 std::int64_t rows) override;
  void wait() override;
  std::unique_ptr<Stopwatch> stopwatch() override;

 private:
  std::int32_t device_;
};

}  // namespace flashmla::support
