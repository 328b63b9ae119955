// The size of a partial result, which each backend keeps in a form of its own.
#pragma once

#include <cstddef>

namespace flashmla::schedule {

struct PartialBytes {
  std::size_t element;  // bytes of an element of out
  std::size_t beside;   // bytes beside each row: its lse and other data of the backend
};

}  // namespace flashmla::schedule
