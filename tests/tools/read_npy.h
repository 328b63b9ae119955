// Reads .npy files by NumPy's description of the format, for tests.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace flashmla::tests {

struct NpyArray {
  std::string type;  // "<f4", "<i4"
  std::vector<std::int64_t> shape;
  std::string bytes;

  // Throws std::runtime_error when the type is another.
  std::vector<float> floats() const;
  std::vector<std::int32_t> integers() const;
};

// Throws std::runtime_error naming what is wrong.
NpyArray parse_npy(const std::string& file);
NpyArray read_npy(const std::filesystem::path& path);

}  // namespace flashmla::tests
