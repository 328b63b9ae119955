// Building the texts of messages. Nothing is printed.
#pragma once

#include <initializer_list>
#include <sstream>
#include <string>

namespace flashmla {

// text("page_size ", 0) == "page_size 0".
template <class... Parts>
std::string text(const Parts&... parts) {
  std::ostringstream stream;
  (stream << ... << parts);
  return std::move(stream).str();
}

// "[2, 1, 16]" of any range of numbers.
template <class Range>
std::string list_text(const Range& range) {
  std::ostringstream stream;
  const char* separator = "[";
  for (const auto& value : range) {
    stream << separator << value;
    separator = ", ";
  }
  stream << (*separator == '[' ? "[]" : "]");
  return std::move(stream).str();
}

}  // namespace flashmla
