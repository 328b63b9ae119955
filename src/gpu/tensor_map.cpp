#include "gpu/tensor_map.h"

#include <cuda_runtime_api.h>

#include <atomic>

#include "core/text.h"
#include "gpu/cuda_check.h"

namespace flashmla::gpu {

namespace {

using Encode = decltype(&cuTensorMapEncodeTiled);

// NOTE: the function is looked up at run time, so that the library loads where there is no driver.
Encode find_encode() {
  void* function = nullptr;
  cudaDriverEntryPointQueryResult found{};
  check(cudaGetDriverEntryPointByVersion("cuTensorMapEncodeTiled", &function, 12000,
                                         cudaEnableDefault, &found),
        "cudaGetDriverEntryPointByVersion");
  if (found != cudaDriverEntryPointSuccess)
    throw Error(ErrorCode::device_failure, "cuTensorMapEncodeTiled",
                "a driver without this function", "a driver of CUDA 12 or newer");
  return reinterpret_cast<Encode>(function);
}

CUtensorMap encode_tensor_map(const TensorMapShape& shape) {
  static const Encode encode = find_encode();
  constexpr std::array<std::uint32_t, 5> every_element{1, 1, 1, 1, 1};
  CUtensorMap map{};
  // NOTE: L2 promotion to 256 bytes costs 8 % of the bandwidth, because a row of 1,152 bytes is not
  // a multiple of it.
  const auto encode_map = [&] {
    return encode(&map,
                  shape.type == DType::fp16 ? CU_TENSOR_MAP_DATA_TYPE_FLOAT16
                                            : CU_TENSOR_MAP_DATA_TYPE_BFLOAT16,
                  5, const_cast<void*>(shape.data), shape.size.data(), shape.stride_bytes.data(),
                  shape.box.data(), every_element.data(), CU_TENSOR_MAP_INTERLEAVE_NONE,
                  CU_TENSOR_MAP_SWIZZLE_128B, CU_TENSOR_MAP_L2_PROMOTION_L2_128B,
                  CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
  };
  CUresult result = encode_map();
  if (result == CUDA_ERROR_INVALID_CONTEXT) {
    // This is the first CUDA call of the thread. The driver makes no context, but the runtime does.
    int device = 0;
    check(cudaGetDevice(&device), "cudaGetDevice");
    check(cudaSetDevice(device), "cudaSetDevice");
    result = encode_map();
  }
  if (result != CUDA_SUCCESS)
    throw Error(ErrorCode::device_failure, "cuTensorMapEncodeTiled",
                text("driver error ", static_cast<int>(result)), "success");
  return map;
}

// A cache of tensor maps. Each shape has one slot that its map may take. A map depends only on its
// shape, which includes the address. So a map stays valid where memory is freed and allocated again
// at the same address.
class LatestMaps {
 public:
  bool find(const TensorMapShape& shape, CUtensorMap& map) {
    Slot& slot = slot_of(shape);
    if (slot.busy.test_and_set(std::memory_order_acquire))
      return false;
    const bool found = slot.shape == shape;
    if (found)
      map = slot.map;
    slot.busy.clear(std::memory_order_release);
    return found;
  }

  void keep(const TensorMapShape& shape, const CUtensorMap& map) {
    Slot& slot = slot_of(shape);
    if (slot.busy.test_and_set(std::memory_order_acquire))
      return;
    slot.shape = shape;
    slot.map = map;
    slot.busy.clear(std::memory_order_release);
  }

 private:
  // NOTE: no thread waits for a slot. A thread that finds a slot busy makes a map of its own.
  struct Slot {
    std::atomic_flag busy;
    TensorMapShape shape{};  // an empty slot has an empty box, which no real shape has
    CUtensorMap map{};
  };

  static constexpr int slot_bits = 10;  // a model needs three maps for each layer

  Slot& slot_of(const TensorMapShape& shape) {
    std::uint64_t hash = reinterpret_cast<std::uintptr_t>(shape.data);
    for (const std::uint64_t part : {shape.size[1], shape.size[3], shape.size[4],
                                     std::uint64_t{shape.box[1]}, std::uint64_t{shape.box[2]}})
      hash = (hash ^ hash >> 32 ^ part) * 0x9E3779B97F4A7C15;  // 2^64 / golden ratio
    return slots_[hash >> (64 - slot_bits)];
  }

  std::array<Slot, std::size_t{1} << slot_bits> slots_;
};

}  // namespace

CUtensorMap make_tensor_map(const TensorMapShape& shape) {
  static constinit LatestMaps latest;
  CUtensorMap map;
  if (latest.find(shape, map))
    return map;
  map = encode_tensor_map(shape);
  latest.keep(shape, map);
  return map;
}

}  // namespace flashmla::gpu
