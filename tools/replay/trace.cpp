#include "tools/replay/trace.h"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <iterator>
#include <system_error>

#include "tools/command.h"
#include "tools/replay/gunzip.h"
#include "tools/replay/trace_text.h"

namespace flashmla::tools {

namespace {

[[noreturn]] void reject_file(const std::string& path, std::string_view reason) {
  throw BadInput(fmt::format("{}: cannot be read: {}", path, reason));
}

std::string contents_of(std::istream& stream, const std::string& name) {
  std::string text{std::istreambuf_iterator<char>(stream), {}};
  if (stream.bad())
    reject_file(name, "reading failed");
  return text;
}

std::string contents_of(const std::string& path) {
  std::error_code error;
  if (std::filesystem::is_directory(path, error))
    reject_file(path, "it is a directory");
  std::ifstream file(path, std::ios::binary);
  if (!file)
    reject_file(path, std::generic_category().message(errno));
  return contents_of(file, path);
}

}  // namespace

std::string in_quotes(std::string_view bytes) {
  constexpr std::size_t longest = 40;
  std::string text = "\"";
  for (const char c : bytes.substr(0, longest)) {
    if (c >= ' ' && c <= '~')
      text += c;
    else
      text += fmt::format("\\x{:02x}", static_cast<unsigned char>(c));
  }
  return text + (bytes.size() > longest ? "…\"" : "\"");
}

void Place::reject(std::string_view given, std::string_view wanted) const {
  std::string shown(name);
  std::replace_if(shown.begin(), shown.end(), [](char c) { return c >= 0 && c < ' '; }, '?');
  throw BadInput(fmt::format("{}: line {}: given {}, wanted {}", shown, line, given, wanted));
}

std::string_view trimmed(std::string_view text) {
  const std::size_t first = text.find_first_not_of(" \t");
  if (first == std::string_view::npos)
    return {};
  return text.substr(first, text.find_last_not_of(" \t") - first + 1);
}

std::string_view take_line(std::string_view& text) {
  const std::size_t end = std::min(text.find('\n'), text.size());
  std::string_view line = text.substr(0, end);
  text.remove_prefix(std::min(end + 1, text.size()));
  if (line.ends_with('\r'))
    line.remove_suffix(1);
  return line;
}

Request request_of(std::int64_t context, std::int64_t generated, const FieldNames& names,
                   const Place& place) {
  if (context + generated > max_tokens)
    place.reject(fmt::format("{} + {} tokens", context, generated),
                 fmt::format("{} + {} of at most {}", names.context, names.generated, max_tokens));
  return {.arrival = 0,
          .context = static_cast<std::int32_t>(context),
          .generated = static_cast<std::int32_t>(generated)};
}

Trace parse_trace(std::string_view text, std::string_view name) {
  constexpr std::string_view byte_order_mark = "\xef\xbb\xbf";
  if (text.starts_with(byte_order_mark))
    text.remove_prefix(byte_order_mark.size());
  const std::size_t first = text.find_first_not_of(" \t\r\n");
  const bool json = first != std::string_view::npos && text[first] == '{';
  Trace trace;
  trace.requests = json ? parse_json_lines(text, name) : parse_csv(text, name);
  for (std::size_t i = 1; i < trace.requests.size(); ++i)
    trace.out_of_order += trace.requests[i].arrival < trace.requests[i - 1].arrival ? 1 : 0;
  std::stable_sort(trace.requests.begin(), trace.requests.end(),
                   [](const Request& a, const Request& b) { return a.arrival < b.arrival; });
  return trace;
}

Trace read_trace(const std::string& path) {
  const std::string name = path == "-" ? "standard input" : path;
  std::string text = path == "-" ? contents_of(std::cin, name) : contents_of(path);
  if (is_gzip(text))
    text = gunzip(text, name);
  return parse_trace(text, name);
}

}  // namespace flashmla::tools
