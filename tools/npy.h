// NumPy's .npy files, format version 1.0: row-major arrays of little-endian numbers.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace flashmla::tools {

// The contents of a file with an array of this shape. Throws std::logic_error where the product of
// the shape is not the number of values. The header is padded, so that the values start at a
// multiple of 64 bytes.
std::string npy_bytes(std::span<const float> values, const std::vector<std::int64_t>& shape);
std::string npy_bytes(std::span<const std::int32_t> values, const std::vector<std::int64_t>& shape);

}  // namespace flashmla::tools
