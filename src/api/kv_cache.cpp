#include "flashmla/kv_cache.h"

#include "api/backend_list.h"
#include "api/validate.h"

namespace flashmla {

void append(const TensorView& cache, KvFormat format, const TensorView& rows,
            const TensorView& slots, void* stream) {
  api::validate_append(cache, format, rows, slots);
  api::backend_for(cache.device, "cache").append(cache, format, rows, slots, stream);
}

void gather(const TensorView& cache, KvFormat format, const TensorView& slots,
            const TensorView& rows, void* stream) {
  api::validate_gather(cache, format, slots, rows);
  api::backend_for(cache.device, "cache").gather(cache, format, slots, rows, stream);
}

void quantise(const TensorView& plain, const TensorView& cache, KvFormat format, void* stream) {
  api::validate_quantise(plain, cache, format);
  api::backend_for(cache.device, "cache").quantise(plain, cache, format, stream);
}

void dequantise(const TensorView& cache, KvFormat format, const TensorView& plain, void* stream) {
  api::validate_dequantise(cache, format, plain);
  api::backend_for(cache.device, "cache").dequantise(cache, format, plain, stream);
}

}  // namespace flashmla
