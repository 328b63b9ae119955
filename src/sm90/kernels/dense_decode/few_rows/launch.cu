#include "sm90/kernels/dense_decode/few_rows/launch.h"

#include "sm90/kernels/dense_decode/few_rows/kernel.h"

namespace flashmla::sm90::dense_decode::few_rows {

namespace {

template <class T, int Chunks, int Rows>
Kernel instance(const char* name) {
  return {name,    decode<T, Chunks, Rows>,
          Rows,    1,
          Chunks,  Ring<Chunks>::slot_chunks,
          false,   false,
          threads, sizeof(SharedStorage<Chunks, Rows>)};
}

template <class T, int Chunks>
Kernel of_rows(std::int64_t rows) {
  return rows <= 16 ? instance<T, Chunks, 16>("few_rows_16")
                    : instance<T, Chunks, 32>("few_rows_32");
}

}  // namespace

Kernel kernel_of(DType type, std::int64_t qk_dim, std::int64_t rows) {
  if (type == DType::fp16)
    return qk_dim == 512 ? of_rows<__half, 8>(rows) : of_rows<__half, 9>(rows);
  return qk_dim == 512 ? of_rows<__nv_bfloat16, 8>(rows) : of_rows<__nv_bfloat16, 9>(rows);
}

}  // namespace flashmla::sm90::dense_decode::few_rows
