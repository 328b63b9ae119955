// JSON lines: an object for each request.
#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <cmath>

#include "tools/replay/trace_text.h"

namespace flashmla::tools {

namespace {

using nlohmann::json;

constexpr FieldNames names{
    .arrival = "timestamp", .context = "input_length", .generated = "output_length"};

// The member as a message shows it.
std::string given(const json& object, std::string_view member) {
  const auto found = object.find(std::string(member));
  if (found == object.end())
    return fmt::format("no {}", member);
  if (!found->is_primitive())
    return fmt::format("{} of type {}", member, found->type_name());
  return fmt::format("{} {}", member,
                     in_quotes(found->dump(-1, ' ', true, json::error_handler_t::replace)));
}

double arrival_of(const json& object, const Place& place) {
  const auto found = object.find(std::string(names.arrival));
  const double milliseconds =
      found != object.end() && found->is_number() ? found->get<double>() : -1;
  if (!std::isfinite(milliseconds) || milliseconds < 0)
    place.reject(given(object, names.arrival), "a finite number of milliseconds ≥ 0");
  return milliseconds / 1e3;
}

std::int64_t tokens_of(const json& object, std::string_view member, const Place& place) {
  const auto found = object.find(std::string(member));
  const bool sound = found != object.end() && found->is_number_unsigned() &&
                     found->get<std::uint64_t>() <= static_cast<std::uint64_t>(max_tokens);
  if (!sound)
    place.reject(given(object, member), fmt::format("a whole number from 0 to {}", max_tokens));
  return found->get<std::int64_t>();
}

}  // namespace

std::vector<Request> parse_json_lines(std::string_view text, std::string_view name) {
  std::vector<Request> requests;
  for (Place place{name, 1}; !text.empty(); ++place.line) {
    const std::string_view line = trimmed(take_line(text));
    if (line.empty())
      continue;
    const json object = json::parse(line, nullptr, false);  // without exceptions
    if (!object.is_object())
      place.reject(in_quotes(line), fmt::format("a JSON object with {}, {} and {}", names.arrival,
                                                names.context, names.generated));
    const std::int64_t context = tokens_of(object, names.context, place);
    requests.push_back(
        request_of(context, tokens_of(object, names.generated, place), names, place));
    requests.back().arrival = arrival_of(object, place);
  }
  return requests;
}

}  // namespace flashmla::tools
