#include "tools/npy.h"

#include <fmt/format.h>

#include <bit>
#include <cstddef>
#include <stdexcept>

namespace flashmla::tools {

static_assert(std::endian::native == std::endian::little, "numbers are written as they stand");

namespace {

// Magic number, version 1.0, length of the dictionary in two bytes, the dictionary, spaces, a line
// feed.
std::string header_of(const char* type, const std::vector<std::int64_t>& shape) {
  std::string sizes;
  for (const std::int64_t size : shape)
    sizes += fmt::format("{}, ", size);
  std::string dictionary =
      fmt::format("{{'descr': '{}', 'fortran_order': False, 'shape': ({}), }}", type, sizes);
  constexpr std::size_t prefix = 10;
  constexpr std::size_t alignment = 64;
  const std::size_t used = prefix + dictionary.size() + 1;
  dictionary.append((alignment - used % alignment) % alignment, ' ');
  dictionary += '\n';
  std::string header("\x93NUMPY\x01\x00", 8);
  header += static_cast<char>(dictionary.size() & 0xff);
  header += static_cast<char>(dictionary.size() >> 8);
  return header + dictionary;
}

template <class T>
std::string file_of(const char* type, std::span<const T> values,
                    const std::vector<std::int64_t>& shape) {
  std::int64_t count = 1;
  for (const std::int64_t size : shape)
    count *= size;
  if (count != static_cast<std::int64_t>(values.size()))
    throw std::logic_error(
        fmt::format("an array of {} numbers has no shape of {}", values.size(), count));
  std::string file = header_of(type, shape);
  file.append(reinterpret_cast<const char*>(values.data()), values.size_bytes());
  return file;
}

}  // namespace

std::string npy_bytes(std::span<const float> values, const std::vector<std::int64_t>& shape) {
  return file_of("<f4", values, shape);
}

std::string npy_bytes(std::span<const std::int32_t> values,
                      const std::vector<std::int64_t>& shape) {
  return file_of("<i4", values, shape);
}

}  // namespace flashmla::tools
