// Files that gzip compressed.
#pragma once

#include <string>
#include <string_view>

namespace flashmla::tools {

// By its first two bytes.
bool is_gzip(std::string_view bytes);

// All members of the file, one behind the other. Throws BadInput with one line that names the file:
// where the data are damaged or end early, or in a build without zlib.
std::string gunzip(std::string_view bytes, const std::string& name);

}  // namespace flashmla::tools
