// What the readers of traces share: where a message points, and the numbers of a request.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "tools/parse_number.h"
#include "tools/replay/trace.h"

namespace flashmla::tools {

// Bytes as they may stand in a message of one line: control and non-ASCII bytes as \xNN, long texts
// cut short.
std::string in_quotes(std::string_view bytes);

// Where in the file the reader is.
struct Place {
  std::string_view name;
  std::size_t line = 1;

  // Throws BadInput with one line.
  [[noreturn]] void reject(std::string_view given, std::string_view wanted) const;
};

// The text without the blanks and tabs at both ends.
std::string_view trimmed(std::string_view text);

// Takes the next line off `text`, without its LF or CRLF.
std::string_view take_line(std::string_view& text);

inline constexpr std::int64_t max_tokens = 2147483647;  // of a request, context and generated

// The names that a format has for what a request is.
struct FieldNames {
  std::string_view arrival;
  std::string_view context;
  std::string_view generated;
};

// Makes a request that has no arrival yet. Rejects one whose tokens are more than max_tokens in
// all.
Request request_of(std::int64_t context, std::int64_t generated, const FieldNames& names,
                   const Place& place);

// The readers of the formats; `text` begins behind a byte-order mark. Requests in the order of the
// text, at least one.
std::vector<Request> parse_csv(std::string_view text, std::string_view name);
std::vector<Request> parse_json_lines(std::string_view text, std::string_view name);

}  // namespace flashmla::tools
