// Reporting bad input. Every error says which argument is wrong, what was given and what is wanted.
#pragma once

#include <string>

#include "core/text.h"
#include "flashmla/error.h"

namespace flashmla {

[[noreturn]] inline void reject(std::string argument, std::string given, std::string wanted) {
  throw Error(ErrorCode::invalid_argument, std::move(argument), std::move(given),
              std::move(wanted));
}

// Throws Error unless low ≤ value ≤ high.
template <class Value>
void check_range(const char* argument, Value value, Value low, Value high) {
  if (value < low || value > high)
    reject(argument, text(value), text("a value from ", low, " to ", high));
}

}  // namespace flashmla
