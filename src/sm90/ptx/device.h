// Marks device functions, which are always inlined: a call in a kernel would serialise its wgmma.
#pragma once

#define FLASHMLA_DEVICE __device__ __forceinline__
