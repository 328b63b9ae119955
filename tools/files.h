// Writing result files. A path that cannot be written is BadInput, found before the work where
// possible.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>

namespace flashmla::tools {

// Throws BadInput naming the option when a file cannot be made at `path`.
void check_writable(std::string_view option, const std::string& path);

void write_file(std::string_view option, const std::string& path, std::string_view contents);

// Keeps the order in which its members were given.
using Json = nlohmann::ordered_json;

// The report as text: indented, with a line feed at the end. Numbers that are not finite become
// null; text that is not UTF-8 (a processor's name, a path) gets replacement characters.
std::string json_text(const Json& report);

// Writes the report to the file of --json. The path "-" is standard output; an empty path writes
// nothing.
void write_json(const std::string& path, const Json& report);

}  // namespace flashmla::tools
