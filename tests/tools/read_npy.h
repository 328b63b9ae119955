// Reads .npy files for tests. The code follows NumPy's description of the format.
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

  // Throws std::runtime_error where the file has another type.
  std::vector<float> floats() const;
  std::vector<std::int32_t> integers() const;
};

// Throws std::runtime_error that says what is wrong.
NpyArray parse_npy(const std::string& file);
NpyArray read_npy(const std::filesystem::path& path);

}  // namespace flashmla::tests
