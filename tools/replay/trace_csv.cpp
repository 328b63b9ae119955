// CSV by RFC 4180: a field may be quoted. A quoted field may hold commas and line breaks, and
// quotes where each is doubled.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <iterator>

#include "tools/replay/timestamp.h"
#include "tools/replay/trace_text.h"

namespace flashmla::tools {

namespace {

constexpr FieldNames own_names{
    .arrival = "arrival_s", .context = "context_tokens", .generated = "generated_tokens"};
constexpr FieldNames azure_names{
    .arrival = "TIMESTAMP", .context = "ContextTokens", .generated = "GeneratedTokens"};
constexpr std::string_view wanted_columns = "arrival_s, context_tokens, generated_tokens";

// Reads the records of a text one by one.
class Records {
 public:
  Records(std::string_view text, std::string_view name) : rest_(text), place_{name, 0} {}

  // Where the last record began.
  const Place& place() const { return place_; }
  const std::vector<std::string>& fields() const { return fields_; }
  std::string_view line() const { return line_; }  // the first line of the record

  // Reads the next record that is not an empty line. Returns false where there is none.
  bool next() {
    while (!rest_.empty()) {
      place_.line += 1 + extra_lines_;
      extra_lines_ = 0;
      std::string_view line = take_line(rest_);
      line_ = line;
      if (trimmed(line).empty())
        continue;
      split(line);
      return true;
    }
    return false;
  }

 private:
  void split(std::string_view line) {
    fields_.clear();
    for (bool more = true; more;) {
      const std::size_t first = line.find_first_not_of(" \t");
      if (first != std::string_view::npos && line[first] == '"') {
        line.remove_prefix(first + 1);
        take_quoted(line);
      } else {
        const std::size_t end = std::min(line.find(','), line.size());
        fields_.emplace_back(trimmed(line.substr(0, end)));
        line.remove_prefix(end);
      }
      more = line.starts_with(',');
      line.remove_prefix(more ? 1 : 0);
    }
  }

  // Reads the rest of a quoted field, whose opening quote lies in front of `line`. Takes the field
  // off the line, and takes the next line of the text where the field goes on there.
  void take_quoted(std::string_view& line) {
    std::string& field = fields_.emplace_back();
    for (;;) {
      const std::size_t quote = line.find('"');
      field += line.substr(0, quote);
      if (quote == std::string_view::npos) {
        if (rest_.empty())
          place_.reject("a quote that is not closed", "a closing quote");
        line = take_line(rest_);
        ++extra_lines_;
        field += '\n';
        continue;
      }
      line.remove_prefix(quote + 1);
      if (!line.starts_with('"'))
        break;
      field += '"';
      line.remove_prefix(1);
    }
    const std::size_t end = std::min(line.find(','), line.size());
    if (!trimmed(line.substr(0, end)).empty())
      place_.reject(fmt::format("{} behind a quoted field", in_quotes(line.substr(0, end))),
                    "a comma or the end of the line");
    line.remove_prefix(end);
  }

  std::string_view rest_;
  Place place_;
  std::string_view line_;
  std::size_t extra_lines_ = 0;  // lines of the last record behind its first one
  std::vector<std::string> fields_;
};

struct Columns {
  const FieldNames* names;
  std::array<std::size_t, 3> index;  // of arrival, context and generated
  std::size_t count;

  bool of_timestamps() const { return names == &azure_names; }
};

Columns columns_of(const Records& header) {
  const std::vector<std::string>& fields = header.fields();
  const auto has = [&](std::string_view name) {
    return std::find(fields.begin(), fields.end(), name) != fields.end();
  };
  Columns columns{
      .names = has(azure_names.arrival) && !has(own_names.arrival) ? &azure_names : &own_names,
      .index = {},
      .count = fields.size()};
  const std::array<std::string_view, 3> wanted{columns.names->arrival, columns.names->context,
                                               columns.names->generated};
  for (std::size_t i = 0; i < wanted.size(); ++i) {
    const auto found = std::find(fields.begin(), fields.end(), wanted[i]);
    if (found == fields.end())
      header.place().reject(
          fmt::format("the header {} without {}", in_quotes(header.line()), wanted[i]),
          fmt::format("a header with the columns {}", fmt::join(wanted, ", ")));
    if (std::find(std::next(found), fields.end(), wanted[i]) != fields.end())
      header.place().reject(fmt::format("the column {} twice", wanted[i]), "each column once");
    columns.index[i] = static_cast<std::size_t>(found - fields.begin());
  }
  return columns;
}

double parse_seconds(std::string_view field, const Place& place) {
  const auto seconds = parse_number<double>(field);
  if (!seconds || !std::isfinite(*seconds) || *seconds < 0)
    place.reject(fmt::format("arrival_s {}", in_quotes(field)), "a finite number of seconds ≥ 0");
  return *seconds;
}

std::int64_t parse_time(std::string_view field, const Place& place) {
  const auto time = parse_timestamp(field);
  if (!time)
    place.reject(fmt::format("TIMESTAMP {}", in_quotes(field)),
                 "a time like 2023-11-16 18:15:46.6805900");
  return *time;
}

std::int64_t parse_tokens(std::string_view field, std::string_view column, const Place& place) {
  const auto tokens = parse_number<std::int64_t>(field);
  if (!tokens || *tokens < 0 || *tokens > max_tokens)
    place.reject(fmt::format("{} {}", column, in_quotes(field)),
                 fmt::format("a whole number from 0 to {}", max_tokens));
  return *tokens;
}

}  // namespace

std::vector<Request> parse_csv(std::string_view text, std::string_view name) {
  Records records(text, name);
  if (!records.next())
    Place{name, 1}.reject("an empty file",
                          fmt::format("a header with the columns {}", wanted_columns));
  const Columns columns = columns_of(records);
  std::vector<Request> requests;
  std::vector<std::int64_t> times;  // where the column has timestamps, ns
  while (records.next()) {
    const std::vector<std::string>& fields = records.fields();
    const Place& place = records.place();
    if (fields.size() != columns.count)
      place.reject(fmt::format("{} fields in {}", fields.size(), in_quotes(records.line())),
                   fmt::format("{}, as in the header", columns.count));
    const FieldNames& names = *columns.names;
    const std::int64_t context = parse_tokens(fields[columns.index[1]], names.context, place);
    requests.push_back(request_of(
        context, parse_tokens(fields[columns.index[2]], names.generated, place), names, place));
    if (columns.of_timestamps())
      times.push_back(parse_time(fields[columns.index[0]], place));
    else
      requests.back().arrival = parse_seconds(fields[columns.index[0]], place);
  }
  if (requests.empty())
    records.place().reject("no request after the header", "at least one request");
  const auto earliest = std::min_element(times.begin(), times.end());
  for (std::size_t i = 0; i < times.size(); ++i)
    requests[i].arrival = static_cast<double>(times[i] - *earliest) / 1e9;
  return requests;
}

}  // namespace flashmla::tools
