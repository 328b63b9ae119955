#include "tools/files.h"

#include <fmt/format.h>
#include <unistd.h>
#include <nlohmann/json.hpp>

#include <filesystem>
#include <fstream>

#include "tools/command.h"
#include "tools/option_values.h"

namespace flashmla::tools {

namespace {

[[noreturn]] void refuse_path(std::string_view option, const std::string& path) {
  throw BadInput(
      fmt::format("{}: given {}, wanted a path that can be written", option, shown(path)));
}

}  // namespace

void check_writable(std::string_view option, const std::string& path) {
  std::error_code error;
  const std::filesystem::path whole = std::filesystem::absolute(path, error);
  const std::filesystem::path target =
      std::filesystem::exists(whole, error) ? whole : whole.parent_path();
  if (path.empty() || std::filesystem::is_directory(whole, error) ||
      ::access(target.c_str(), W_OK) != 0)
    refuse_path(option, path);
}

void write_file(std::string_view option, const std::string& path, std::string_view contents) {
  std::ofstream file(path, std::ios::binary);
  file.write(contents.data(), static_cast<std::streamsize>(contents.size()));
  file.flush();
  if (!file)
    refuse_path(option, path);
}

std::string json_text(const Json& report) {
  return report.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

void write_json(const std::string& path, const Json& report) {
  if (path == "-")
    fmt::print("{}", json_text(report));
  else if (!path.empty())
    write_file("--json", path, json_text(report));
}

}  // namespace flashmla::tools
