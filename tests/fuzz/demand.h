// Aborts where a condition does not hold, which libFuzzer reports as a finding.
#pragma once

#include <cstdio>
#include <cstdlib>

#define FLASHMLA_DEMAND(condition)                                                 \
  do {                                                                             \
    if (!(condition)) {                                                            \
      std::fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #condition); \
      std::abort();                                                                \
    }                                                                              \
  } while (false)
