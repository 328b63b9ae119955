// Marks device functions. They are always inlined, because a call in a kernel would serialise its
// wgmma.
#pragma once

#if defined(__CUDACC__)
#define FLASHMLA_DEVICE __device__ __forceinline__
#else
#define FLASHMLA_DEVICE inline
#endif
