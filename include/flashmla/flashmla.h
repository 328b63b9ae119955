// FlashMLA: Multi-head Latent Attention kernels. This header includes the whole C++ interface.
#pragma once

#include "flashmla/backends.h"     // IWYU pragma: export
#include "flashmla/decode.h"       // IWYU pragma: export
#include "flashmla/dtype.h"        // IWYU pragma: export
#include "flashmla/error.h"        // IWYU pragma: export
#include "flashmla/kv_cache.h"     // IWYU pragma: export
#include "flashmla/kv_format.h"    // IWYU pragma: export
#include "flashmla/lse.h"          // IWYU pragma: export
#include "flashmla/merge.h"        // IWYU pragma: export
#include "flashmla/plan.h"         // IWYU pragma: export
#include "flashmla/problem.h"      // IWYU pragma: export
#include "flashmla/tensor_view.h"  // IWYU pragma: export
