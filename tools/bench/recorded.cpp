#include "tools/bench/recorded.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>

#include "tools/bench/reference_files.h"
#include "tools/command.h"
#include "tools/option_values.h"

namespace flashmla::tools {

namespace {

using nlohmann::json;

constexpr const char* upstream = "upstream";

std::string key_of(const Shape& shape, std::int64_t tokens) {
  return fmt::format("{}={}", text_of(shape), tokens);
}

std::map<std::string, CallTime> times_of(const json& row) {
  constexpr double microsecond = 1e-6;
  std::map<std::string, CallTime> times;
  if (row.contains("cold_us"))
    times[upstream] = {row.at("cold_us").get<double>() * microsecond,
                       row.at("hot_us").get<double>() * microsecond};
  for (const auto& [name, value] : row.items())
    if (value.is_array() && name != "best")  // which follows from the others
      times[name] = {value.at(0).get<double>() * microsecond,
                     value.at(1).get<double>() * microsecond};
  for (const auto& [name, time] : times)
    if (!(time.cold > 0 && time.hot > 0))
      throw BadInput(fmt::format("times of {} that are not positive", name));
  return times;
}

// "H200" of "h200_upstream_dense.json".
std::string card_of(std::string_view file_name) {
  std::string card(file_name.substr(0, file_name.find('_')));
  std::ranges::transform(card, card.begin(),
                         [](unsigned char c) { return static_cast<char>(std::toupper(c)); });
  return card;
}

}  // namespace

void Recordings::add(std::string_view source, std::string_view text, const std::string& table) {
  try {
    const json file = json::parse(text);
    for (const json& row : file.at(table)) {
      auto& libraries = times_[key_of(parse_shape(row.at("shape")), row.at("tokens"))];
      for (const auto& [name, time] : times_of(row)) {
        const auto [known, added] = libraries.emplace(name, time);
        if (!added)
          known->second = {std::min(known->second.cold, time.cold),
                           std::min(known->second.hot, time.hot)};
      }
    }
  } catch (const std::exception& error) {
    throw BadInput(fmt::format("given {}, wanted a file of recorded figures: {}", shown(source),
                               error.what()));
  }
  sources_.emplace_back(source);
}

std::optional<Recorded> Recordings::find(const Shape& shape, std::int64_t tokens) const {
  const auto found = times_.find(key_of(shape, tokens));
  if (found == times_.end() || found->second.empty())
    return std::nullopt;
  const auto& libraries = found->second;
  const auto cold = std::ranges::min_element(
      libraries, {}, [](const auto& library) { return library.second.cold; });
  const auto hot = std::ranges::min_element(libraries, {},
                                            [](const auto& library) { return library.second.hot; });
  Recorded recorded{.upstream = std::nullopt,
                    .best = {cold->second.cold, hot->second.hot},
                    .best_cold = cold->first,
                    .best_hot = hot->first};
  if (const auto of_upstream = libraries.find(upstream); of_upstream != libraries.end())
    recorded.upstream = of_upstream->second;
  return recorded;
}

Recordings recordings_of_card(std::string_view device_name, const std::string& table) {
  Recordings recordings;
  for (const ReferenceFile& file : reference_files())
    if (device_name.find(card_of(file.name)) != std::string_view::npos &&
        json::parse(file.json).contains(table))
      recordings.add(file.name, file.json, table);
  return recordings;
}

Recordings recordings_in(const std::vector<std::string>& paths, const std::string& table) {
  Recordings recordings;
  for (const std::string& path : paths) {
    std::ifstream file(path);
    std::ostringstream text;
    if (!file || !(text << file.rdbuf()))
      throw BadInput(
          fmt::format("--reference: given {}, wanted a file that can be read", shown(path)));
    try {
      recordings.add(path, std::move(text).str(), table);
    } catch (const BadInput& error) {
      throw BadInput(fmt::format("--reference: {}", error.what()));
    }
  }
  return recordings;
}

double geometric_mean(const std::vector<double>& values) {
  if (values.empty())
    return 0;
  double sum = 0;
  for (const double value : values)
    sum += std::log(value);
  return std::exp(sum / static_cast<double>(values.size()));
}

}  // namespace flashmla::tools
