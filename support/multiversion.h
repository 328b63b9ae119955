// Marks a hot loop that the compiler shall vectorise for several instruction sets, the best of
// which is chosen at run time.
#pragma once

#if defined(__x86_64__) && defined(__gnu_linux__) && !defined(__SANITIZE_ADDRESS__)
#define FLASHMLA_SUPPORT_MULTIVERSION \
  __attribute__((target_clones("arch=skylake-avx512", "arch=haswell", "default")))
#else
#define FLASHMLA_SUPPORT_MULTIVERSION
#endif
