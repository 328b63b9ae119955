#include "tests/tools/read_npy.h"

#include <cstring>
#include <fstream>
#include <regex>
#include <sstream>
#include <stdexcept>

namespace flashmla::tests {

namespace {

template <class T>
std::vector<T> numbers(const NpyArray& array, const char* type) {
  if (array.type != type)
    throw std::runtime_error("the type is " + array.type);
  std::vector<T> values(array.bytes.size() / sizeof(T));
  if (!values.empty())
    std::memcpy(values.data(), array.bytes.data(), array.bytes.size());
  return values;
}

std::size_t byte_at(const std::string& file, std::size_t place) {
  return static_cast<unsigned char>(file[place]);
}

}  // namespace

std::vector<float> NpyArray::floats() const {
  return numbers<float>(*this, "<f4");
}

std::vector<std::int32_t> NpyArray::integers() const {
  return numbers<std::int32_t>(*this, "<i4");
}

NpyArray parse_npy(const std::string& file) {
  if (file.size() < 10 || file.substr(0, 6) != "\x93NUMPY" || file[6] != 1 || file[7] != 0)
    throw std::runtime_error("not a .npy file of version 1.0");
  const std::size_t length = byte_at(file, 8) + 256 * byte_at(file, 9);
  if (file.size() < 10 + length || (10 + length) % 64 != 0 || file[9 + length] != '\n')
    throw std::runtime_error("the header's length is wrong");
  const std::string header = file.substr(10, length);
  static const std::regex form(
      R"(\{'descr': '(<[fi]4)', 'fortran_order': False, 'shape': \(((\d+, ?)*\d*)\), \} *\n)");
  std::smatch match;
  if (!std::regex_match(header, match, form))
    throw std::runtime_error("the header is " + header);
  NpyArray array{match[1], {}, file.substr(10 + length)};
  std::istringstream sizes(match[2]);
  std::int64_t expected = 4;
  for (std::string size; std::getline(sizes, size, ',');)
    if (size.find_first_of("0123456789") != std::string::npos) {
      array.shape.push_back(std::stoll(size));
      expected *= array.shape.back();
    }
  if (static_cast<std::int64_t>(array.bytes.size()) != expected)
    throw std::runtime_error("the data do not fill the shape");
  return array;
}

NpyArray read_npy(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file)
    throw std::runtime_error("cannot read " + path.string());
  std::ostringstream bytes;
  bytes << file.rdbuf();
  return parse_npy(std::move(bytes).str());
}

}  // namespace flashmla::tests
