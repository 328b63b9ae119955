#include "sm90/kernels/combine/launch.h"

#include "sm90/kernels/combine/combine.h"

namespace flashmla::sm90::combine {

std::int32_t worker_limit() {
  return most_workers;
}

Kernel kernel_of(DType type, bool pieces) {
  if (type == DType::fp16)
    return {pieces ? combine_pieces<__half> : combine_splits<__half>, threads};
  return {pieces ? combine_pieces<__nv_bfloat16> : combine_splits<__nv_bfloat16>, threads};
}

}  // namespace flashmla::sm90::combine
