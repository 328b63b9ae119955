#include "tools/replay/trace.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <limits>
#include <optional>
#include <system_error>

#include "tools/command.h"

namespace flashmla::tools {

namespace {

constexpr std::array<std::string_view, 3> column_names = {"arrival_s", "context_tokens",
                                                          "generated_tokens"};
constexpr std::string_view wanted_columns = "arrival_s, context_tokens, generated_tokens";
constexpr std::int64_t most_tokens = std::numeric_limits<std::int32_t>::max();
constexpr std::size_t none = std::string_view::npos;

// Any bytes as one short piece of a line: control and non-ASCII bytes as \xNN, long texts cut.
std::string quoted(std::string_view bytes) {
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

// Where in the file the reader is, for messages.
struct Place {
  std::string_view name;
  std::size_t line = 0;  // counted from 1

  [[noreturn]] void reject(std::string_view given, std::string_view wanted) const {
    std::string shown(name);
    std::replace_if(shown.begin(), shown.end(), [](char c) { return c >= 0 && c < ' '; }, '?');
    throw BadInput(fmt::format("{}: line {}: given {}, wanted {}", shown, line, given, wanted));
  }
};

// Takes the next line off `text`, without its LF or CRLF.
std::string_view take_line(std::string_view& text) {
  const std::size_t end = std::min(text.find('\n'), text.size());
  std::string_view line = text.substr(0, end);
  text.remove_prefix(std::min(end + 1, text.size()));
  if (line.ends_with('\r'))
    line.remove_suffix(1);
  return line;
}

std::string_view trimmed(std::string_view field) {
  const std::size_t first = field.find_first_not_of(" \t");
  if (first == none)
    return {};
  return field.substr(first, field.find_last_not_of(" \t") - first + 1);
}

void split_fields(std::string_view line, std::vector<std::string_view>& fields) {
  fields.clear();
  for (std::size_t comma = 0; comma != none;) {
    comma = line.find(',');
    fields.push_back(trimmed(line.substr(0, comma)));
    line.remove_prefix(comma == none ? line.size() : comma + 1);
  }
}

struct Columns {
  std::array<std::size_t, 3> index;  // of arrival, context and generated
  std::size_t count;
};

Columns parse_header(std::string_view line, const Place& place) {
  constexpr std::string_view byte_order_mark = "\xef\xbb\xbf";
  if (line.starts_with(byte_order_mark))
    line.remove_prefix(byte_order_mark.size());
  std::vector<std::string_view> fields;
  split_fields(line, fields);
  Columns columns{.index = {}, .count = fields.size()};
  for (std::size_t i = 0; i < column_names.size(); ++i) {
    const auto found = std::find(fields.begin(), fields.end(), column_names[i]);
    if (found == fields.end())
      place.reject(fmt::format("the header {} without {}", quoted(line), column_names[i]),
                   fmt::format("a header with the columns {}", wanted_columns));
    if (std::find(std::next(found), fields.end(), column_names[i]) != fields.end())
      place.reject(fmt::format("the column {} twice", column_names[i]), "each column once");
    columns.index[i] = static_cast<std::size_t>(found - fields.begin());
  }
  return columns;
}

template <class Number>
std::optional<Number> parse_number(std::string_view field) {
  Number number{};
  const auto [end, error] = std::from_chars(field.data(), field.data() + field.size(), number);
  if (error != std::errc{} || end != field.data() + field.size())
    return std::nullopt;
  return number;
}

double parse_arrival(std::string_view field, const Place& place) {
  const auto seconds = parse_number<double>(field);
  if (!seconds || !std::isfinite(*seconds) || *seconds < 0)
    place.reject(fmt::format("arrival_s {}", quoted(field)), "a finite number of seconds ≥ 0");
  return *seconds;
}

std::int64_t parse_tokens(std::string_view field, std::string_view column, const Place& place) {
  const auto tokens = parse_number<std::int64_t>(field);
  if (!tokens || *tokens < 0 || *tokens > most_tokens)
    place.reject(fmt::format("{} {}", column, quoted(field)),
                 fmt::format("a whole number from 0 to {}", most_tokens));
  return *tokens;
}

Request parse_request(const std::vector<std::string_view>& fields, const Columns& columns,
                      const Place& place) {
  const std::int64_t context = parse_tokens(fields[columns.index[1]], column_names[1], place);
  const std::int64_t generated = parse_tokens(fields[columns.index[2]], column_names[2], place);
  if (context + generated > most_tokens)
    place.reject(fmt::format("{} + {} tokens", context, generated),
                 fmt::format("context_tokens + generated_tokens of at most {}", most_tokens));
  return {.arrival = parse_arrival(fields[columns.index[0]], place),
          .context = static_cast<std::int32_t>(context),
          .generated = static_cast<std::int32_t>(generated)};
}

[[noreturn]] void reject_file(const std::string& path, std::string_view reason) {
  throw BadInput(fmt::format("{}: cannot be read: {}", path, reason));
}

}  // namespace

Trace parse_trace(std::string_view text, std::string_view name) {
  Place place{name, 1};
  if (text.empty())
    place.reject("an empty file", fmt::format("a header with the columns {}", wanted_columns));
  const Columns columns = parse_header(take_line(text), place);
  Trace trace;
  std::vector<std::string_view> fields;
  while (!text.empty()) {
    const std::string_view line = take_line(text);
    ++place.line;
    if (trimmed(line).empty())
      continue;
    split_fields(line, fields);
    if (fields.size() != columns.count)
      place.reject(fmt::format("{} fields in {}", fields.size(), quoted(line)),
                   fmt::format("{}, as in the header", columns.count));
    const Request request = parse_request(fields, columns, place);
    if (!trace.requests.empty() && request.arrival < trace.requests.back().arrival)
      ++trace.out_of_order;
    trace.requests.push_back(request);
  }
  if (trace.requests.empty())
    place.reject("no request after the header", "at least one request");
  std::stable_sort(trace.requests.begin(), trace.requests.end(),
                   [](const Request& a, const Request& b) { return a.arrival < b.arrival; });
  return trace;
}

Trace read_trace(const std::string& path) {
  std::error_code error;
  if (std::filesystem::is_directory(path, error))
    reject_file(path, "it is a directory");
  std::ifstream file(path, std::ios::binary);
  if (!file)
    reject_file(path, std::generic_category().message(errno));
  const std::string text{std::istreambuf_iterator<char>(file), {}};
  if (file.bad())
    reject_file(path, "reading failed");
  return parse_trace(text, path);
}

}  // namespace flashmla::tools
