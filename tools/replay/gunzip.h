// Files that gzip compressed.
#pragma once

#include <string>
#include <string_view>

namespace flashmla::tools {

// Whether gzip made these bytes, as the first two of them tell.
bool is_gzip(std::string_view bytes);

// Decompresses all members of the file and joins them. Throws BadInput with one line that names the
// file, where the data are damaged or end early and in a build without zlib.
std::string gunzip(std::string_view bytes, const std::string& name);

}  // namespace flashmla::tools
