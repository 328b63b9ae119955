// Traces that gzip compressed.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <string>

#include "tools/command.h"
#include "tools/replay/trace.h"

namespace flashmla::tools {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

// The output of `gzip` for a header and the line "3,4,5".
constexpr unsigned char compressed[] = {
    0x1f, 0x8b, 0x08, 0x00, 0x00, 0x00, 0x00, 0x00, 0x02, 0x03, 0x4b, 0x2c, 0x2a, 0xca, 0x2c, 0x4b,
    0xcc, 0x89, 0x2f, 0xd6, 0x49, 0xce, 0xcf, 0x2b, 0x49, 0xad, 0x28, 0x89, 0x2f, 0xc9, 0xcf, 0x4e,
    0xcd, 0x2b, 0xd6, 0x49, 0x4f, 0xcd, 0x4b, 0x2d, 0x4a, 0x2c, 0x49, 0x4d, 0x81, 0x0a, 0x70, 0x19,
    0xeb, 0x98, 0xe8, 0x98, 0x72, 0x01, 0x00, 0xcc, 0xf4, 0x9d, 0x70, 0x30, 0x00, 0x00, 0x00};

std::string write_temporary(const std::string& name, const std::string& bytes) {
  const auto path = std::filesystem::path(::testing::TempDir()) / name;
  std::ofstream(path, std::ios::binary) << bytes;
  return path.string();
}

std::string complaint_about_file(const std::string& path) {
  try {
    read_trace(path);
  } catch (const BadInput& error) {
    return error.what();
  }
  return {};
}

TEST(GzipTrace, IsRead) {
  const std::string bytes(reinterpret_cast<const char*>(compressed), sizeof(compressed));
  const std::string path = write_temporary("flashmla_trace.csv.gz", bytes);
  const std::string twice =
      write_temporary("flashmla_twice.csv.gz", bytes + bytes + std::string(100, '\0'));
  if (complaint_about_file(path).ends_with("has no zlib"))
    GTEST_SKIP() << "this build has no zlib";
  const Trace trace = read_trace(path);
  ASSERT_EQ(trace.requests.size(), 1u);
  EXPECT_EQ(trace.requests[0].context, 4);
  // The header of the second member is not a request.
  EXPECT_THAT(complaint_about_file(twice), HasSubstr("line 3: given context_tokens"));
  std::filesystem::remove(path);
  std::filesystem::remove(twice);
}

TEST(GzipTrace, IsRejectedWhereItIsDamaged) {
  const std::string bytes(reinterpret_cast<const char*>(compressed), sizeof(compressed));
  const auto message = [&](const std::string& damaged) {
    const std::string path = write_temporary("flashmla_damaged.csv.gz", damaged);
    const std::string said = complaint_about_file(path);
    EXPECT_THAT(said, AllOf(HasSubstr(path), Not(HasSubstr("\n"))));
    std::filesystem::remove(path);
    return said;
  };
  if (message(bytes.substr(0, 2)).ends_with("has no zlib"))
    GTEST_SKIP() << "this build has no zlib";
  for (std::size_t length = 2; length < bytes.size(); ++length)
    EXPECT_THAT(message(bytes.substr(0, length)), HasSubstr("end early")) << length;
  std::string wrong = bytes;
  wrong[bytes.size() - 5] = static_cast<char>(wrong[bytes.size() - 5] ^ 1);  // of the check sum
  EXPECT_THAT(message(wrong), HasSubstr("damaged"));
  wrong = bytes;
  wrong[2] = 0;  // the method
  EXPECT_THAT(message(wrong), HasSubstr("damaged"));
}

}  // namespace
}  // namespace flashmla::tools
