// Marks what the shared library exports. Everything else stays hidden.
#pragma once

#define FLASHMLA_API __attribute__((visibility("default")))
