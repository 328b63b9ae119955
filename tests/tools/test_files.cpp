#include "tools/files.h"

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "support/random.h"
#include "tools/command.h"

namespace flashmla::tools {
namespace {

class Files : public testing::Test {
 protected:
  Files() { std::filesystem::create_directory(folder_); }
  ~Files() override { std::filesystem::remove_all(folder_); }

  std::string in_folder(const char* name) const { return (folder_ / name).string(); }

  std::filesystem::path folder_ = std::filesystem::temp_directory_path() /
                                  ("flashmla_files_" + std::to_string(support::fresh_seed()));
};

std::string contents(const std::string& path) {
  std::ostringstream text;
  text << std::ifstream(path).rdbuf();
  return std::move(text).str();
}

TEST_F(Files, WritableIsAnOldOrNewFileInAFolder) {
  EXPECT_NO_THROW(check_writable("--json", in_folder("new.json")));
  EXPECT_FALSE(std::filesystem::exists(in_folder("new.json")));
  write_file("--json", in_folder("old.json"), "text");
  EXPECT_NO_THROW(check_writable("--json", in_folder("old.json")));
  EXPECT_EQ(contents(in_folder("old.json")), "text");
}

TEST_F(Files, NotWritableIsAFolderOrAFileInNone) {
  EXPECT_THROW(check_writable("--json", folder_.string()), BadInput);
  EXPECT_THROW(check_writable("--json", in_folder("missing/new.json")), BadInput);
  EXPECT_THROW(check_writable("--json", ""), BadInput);
  EXPECT_THROW(write_file("--json", in_folder("missing/new.json"), "text"), BadInput);
}

TEST_F(Files, TheErrorNamesOptionAndPath) {
  try {
    check_writable("--svg", in_folder("missing/a.svg"));
    FAIL() << "nothing was thrown";
  } catch (const BadInput& error) {
    EXPECT_NE(std::string(error.what()).find("--svg"), std::string::npos);
    EXPECT_NE(std::string(error.what()).find("missing/a.svg"), std::string::npos);
  }
}

TEST_F(Files, JsonKeepsItsOrderAndBearsWhatJsonHasNot) {
  const Json report = {{"z", 1}, {"a", std::nan("")}, {"text", "caf\xe9"}};
  const Json back = Json::parse(json_text(report));
  EXPECT_EQ(back.begin().key(), "z");
  EXPECT_TRUE(back["a"].is_null());
  write_json(in_folder("report.json"), report);
  EXPECT_EQ(contents(in_folder("report.json")), json_text(report));
  write_json("", report);
}

}  // namespace
}  // namespace flashmla::tools
