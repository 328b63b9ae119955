#include "cuda/tensor_map.h"

#include <cuda_runtime_api.h>

#include "core/text.h"
#include "cuda/cuda_check.h"

namespace flashmla::cuda {

namespace {

using Encode = decltype(&cuTensorMapEncodeTiled);

// NOTE: found at run time, so that the library loads where there is no driver.
Encode find_encode() {
  void* function = nullptr;
  cudaDriverEntryPointQueryResult found{};
  check(cudaGetDriverEntryPointByVersion("cuTensorMapEncodeTiled", &function, 12000,
                                         cudaEnableDefault, &found),
        "cudaGetDriverEntryPointByVersion");
  if (found != cudaDriverEntryPointSuccess)
    throw Error(ErrorCode::device_failure, "cuTensorMapEncodeTiled",
                "a driver that does not have it", "a driver of CUDA 12 or newer");
  return reinterpret_cast<Encode>(function);
}

}  // namespace

CUtensorMap make_tensor_map(const TensorMapShape& shape) {
  static const Encode encode = find_encode();
  constexpr std::array<std::uint32_t, 5> every_element{1, 1, 1, 1, 1};
  CUtensorMap map{};
  // NOTE: promotion to 256 bytes costs 8 % of the bandwidth: a row of 1152 bytes is no multiple of
  // it.
  const CUresult result =
      encode(&map,
             shape.type == DType::fp16 ? CU_TENSOR_MAP_DATA_TYPE_FLOAT16
                                       : CU_TENSOR_MAP_DATA_TYPE_BFLOAT16,
             5, const_cast<void*>(shape.data), shape.size.data(), shape.stride_bytes.data(),
             shape.box.data(), every_element.data(), CU_TENSOR_MAP_INTERLEAVE_NONE,
             CU_TENSOR_MAP_SWIZZLE_128B, CU_TENSOR_MAP_L2_PROMOTION_L2_128B,
             CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
  if (result != CUDA_SUCCESS)
    throw Error(ErrorCode::device_failure, "cuTensorMapEncodeTiled",
                text("driver error ", static_cast<int>(result)), "success");
  return map;
}

}  // namespace flashmla::cuda
