#include "flashmla/kv_cache.h"

#include "api/backend_list.h"
#include "api/validate.h"

namespace flashmla {

void append(const TensorView& cache, KvFormat format, const TensorView& rows,
            const TensorView& slots, void* stream) {
  api::validate_append(cache, format, rows, slots);
  api::backend_for(cache.device, "cache").append(cache, format, rows, slots, stream);
}

}  // namespace flashmla
