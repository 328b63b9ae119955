#include "tools/option_values.h"

#include <fmt/format.h>
#include <CLI/CLI.hpp>

#include <algorithm>
#include <cctype>
#include <cmath>

#include "tools/parse_number.h"

namespace flashmla::tools {

namespace {

[[noreturn]] void refuse(const std::string& option, std::string_view given,
                         const std::string& wanted) {
  throw CLI::ValidationError(option, fmt::format("given {}, wanted {}", shown(given), wanted));
}

void require_text(const std::string& option, const std::string& text, const std::string& kind) {
  if (!text.empty())
    return;
  std::string wanted = "a ";
  for (const char c : kind)
    wanted += static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  refuse(option, text, wanted);
}

}  // namespace

std::string shown(std::string_view value) {
  constexpr std::size_t longest = 80;
  std::string text = "'";
  for (const char c : value.substr(0, longest)) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte < ' ' || byte == 0x7f)
      text += fmt::format("\\x{:02x}", byte);
    else
      text += c;
  }
  return text + (value.size() > longest ? "…'" : "'");
}

std::string range_text(std::int64_t least, std::int64_t most) {
  return fmt::format("{} … {}", least, most);
}

std::int64_t integer_of(const std::string& option, std::string_view text, std::int64_t least,
                        std::int64_t most) {
  const auto value = parse_number<std::int64_t>(text);
  if (!value || *value < least || *value > most)
    refuse(option, text, "a whole number, " + range_text(least, most));
  return *value;
}

std::uint64_t seed_of(const std::string& option, std::string_view text) {
  const auto value = parse_number<std::uint64_t>(text);
  if (!value)
    refuse(option, text,
           fmt::format("a whole number, 0 … {}", std::numeric_limits<std::uint64_t>::max()));
  return *value;
}

double number_of(const std::string& option, std::string_view text, double least, double most) {
  const auto value = parse_number<double>(text);
  if (!value || !std::isfinite(*value) || *value < least || *value > most)
    refuse(option, text,
           most < std::numeric_limits<float>::max() ? fmt::format("a number, {} … {}", least, most)
                                                    : std::string("a finite number"));
  return *value;
}

CLI::Option* add_repeated_option(CLI::App& app, const std::string& name, const std::string& kind,
                                 const TakeValue& take, const std::string& description) {
  const auto take_all = [take](const CLI::results_t& values) {
    for (const std::string& value : values)
      take(value);
    return true;
  };
  return app.add_option(name, take_all, description)
      ->type_name(kind)
      ->expected(1, CLI::detail::expected_max_vector_size)
      ->allow_extra_args(false);
}

CLI::Option* add_value_option(CLI::App& app, const std::string& name, const std::string& kind,
                              const TakeValue& take, const std::string& description) {
  const auto take_one = [name, take](const CLI::results_t& values) {
    if (values.size() != 1)
      throw CLI::ValidationError(name,
                                 fmt::format("given {} times, wanted one value", values.size()));
    take(values[0]);
    return true;
  };
  return app.add_option(name, take_one, description)
      ->type_name(kind)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
}

void show_default(CLI::Option* option, const std::string& value) {
  option->default_str(value);
}

CLI::Option* add_choice_option(CLI::App& app, const std::string& name, std::string& target,
                               const std::vector<std::string>& choices,
                               const std::string& description) {
  const auto take = [&target, name, choices](const std::string& text) {
    if (std::ranges::find(choices, text) == choices.end())
      refuse(name, text,
             fmt::format("{} or {}", fmt::join(choices.begin(), choices.end() - 1, ", "),
                         choices.back()));
    target = text;
  };
  CLI::Option* option = add_value_option(app, name, fmt::format("{{{}}}", fmt::join(choices, ",")),
                                         take, description);
  show_default(option, target);
  return option;
}

CLI::Option* add_text_option(CLI::App& app, const std::string& name, std::string& target,
                             const std::string& kind, const std::string& description) {
  const auto take = [&target, name, kind](const std::string& text) {
    require_text(name, text, kind);
    target = text;
  };
  CLI::Option* option = add_value_option(app, name, kind, take, description);
  if (!target.empty())
    show_default(option, target);
  return option;
}

CLI::Option* add_texts_option(CLI::App& app, const std::string& name,
                              std::vector<std::string>& target, const std::string& kind,
                              const std::string& description) {
  const auto take = [&target, name, kind](const std::string& text) {
    require_text(name, text, kind);
    target.push_back(text);
  };
  return add_repeated_option(app, name, kind, take, description);
}

CLI::Option* add_switch(CLI::App& app, const std::string& name, bool& target,
                        const std::string& description) {
  const auto wrong = [](const std::string& text) -> std::string {
    if (text == "true" || text == "false")
      return {};
    return fmt::format("given {}, wanted no value, true or false", shown(text));
  };
  return app.add_flag(name, target, description)->check(wrong);
}

}  // namespace flashmla::tools
