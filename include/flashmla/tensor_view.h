// A view of a tensor that the caller owns. It has the fields of DLPack's DLTensor.
#pragma once

#include <array>
#include <cstdint>
#include <initializer_list>
#include <string>

#include "flashmla/dtype.h"
#include "flashmla/export.h"

namespace flashmla {

enum class DeviceType : std::int32_t { cpu, cuda };

struct Device {
  DeviceType type = DeviceType::cpu;
  std::int32_t index = 0;

  friend bool operator==(const Device&, const Device&) = default;
};

inline constexpr int max_rank = 5;

// Sizes and strides are in elements. The elements of FP8 caches are bytes. A default-constructed
// view means that the tensor is not given.
struct FLASHMLA_API TensorView {
  void* data = nullptr;
  DType dtype = DType::bf16;
  Device device;
  std::int32_t rank = 0;
  std::array<std::int64_t, max_rank> shape{};
  std::array<std::int64_t, max_rank> strides{};

  TensorView() = default;

  // A contiguous (row-major) tensor of at most max_rank dimensions. Throws Error on more.
  TensorView(void* data, DType dtype, std::initializer_list<std::int64_t> shape,
             Device device = Device{});

  // A strided tensor. Both lists have the same length, at most max_rank. Throws Error otherwise.
  TensorView(void* data, DType dtype, std::initializer_list<std::int64_t> shape,
             std::initializer_list<std::int64_t> strides, Device device = Device{});

  bool given() const { return rank != 0; }
  std::int64_t element_count() const;
};

// "bf16[2, 1, 16, 576] on cpu:0", for messages.
FLASHMLA_API std::string describe(const TensorView& tensor);
FLASHMLA_API std::string describe(const Device& device);

// Memory that the caller owns and lends for a call. `data` is aligned to workspace_alignment bytes.
struct Workspace {
  void* data = nullptr;
  std::size_t bytes = 0;
};

inline constexpr std::size_t workspace_alignment = 256;

}  // namespace flashmla
