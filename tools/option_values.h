// Options that take a value. A text that is no value of its option is refused while the command
// line is read, in the same words for all options: "--heads: given '5x', wanted a whole number, 1 …
// 65536".
#pragma once

#include <cstdint>
#include <functional>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

namespace CLI {
class App;
class Option;
}  // namespace CLI

namespace flashmla::tools {

// A value as a message shows it: in quotes, control characters as \xNN, long ones cut.
std::string shown(std::string_view value);

// The value of an option that takes an integer: decimal digits, with a minus in front where `least`
// is negative. Both functions throw CLI::ValidationError naming the option.
std::int64_t integer_of(const std::string& option, std::string_view text, std::int64_t least,
                        std::int64_t most);
std::uint64_t seed_of(const std::string& option, std::string_view text);

// The value of an option that takes a finite number.
double number_of(const std::string& option, std::string_view text, double least, double most);

// What an option does with its value, or with each of its values.
using TakeValue = std::function<void(const std::string& text)>;

// `kind` is what --help calls the value. An option given twice is refused, unless it may be
// repeated.
CLI::Option* add_value_option(CLI::App& app, const std::string& name, const std::string& kind,
                              const TakeValue& take, const std::string& description);
CLI::Option* add_repeated_option(CLI::App& app, const std::string& name, const std::string& kind,
                                 const TakeValue& take, const std::string& description);

// Makes --help show the value that holds where the option is not given.
void show_default(CLI::Option* option, const std::string& value);

std::string range_text(std::int64_t least, std::int64_t most);

template <class Type>
inline constexpr bool is_optional = false;
template <class Type>
inline constexpr bool is_optional<std::optional<Type>> = true;

// `target` is an integer, or an optional one that has no default.
template <class Integer>
CLI::Option* add_integer_option(CLI::App& app, const std::string& name, Integer& target,
                                std::int64_t least, std::int64_t most,
                                const std::string& description) {
  const auto take = [&target, name, least, most](const std::string& text) {
    const std::int64_t value = integer_of(name, text, least, most);
    if constexpr (is_optional<Integer>)
      target = static_cast<typename Integer::value_type>(value);
    else
      target = static_cast<Integer>(value);
  };
  CLI::Option* option =
      add_value_option(app, name, "INT " + range_text(least, most), take, description);
  if constexpr (!is_optional<Integer>)
    show_default(option, std::to_string(target));
  return option;
}

// Any integer of 64 bits without a sign.
template <class Seed>
CLI::Option* add_seed_option(CLI::App& app, Seed& target, const std::string& description) {
  return add_value_option(
      app, "--seed", "UINT",
      [&target](const std::string& text) { target = seed_of("--seed", text); }, description);
}

// `target` is a double, or an optional float or double.
template <class Number>
CLI::Option* add_number_option(CLI::App& app, const std::string& name, Number& target, double least,
                               double most, const std::string& description) {
  return add_value_option(
      app, name, "NUMBER",
      [&target, name, least, most](const std::string& text) {
        const double value = number_of(name, text, least, most);
        if constexpr (is_optional<Number>)
          target = static_cast<typename Number::value_type>(value);
        else
          target = value;
      },
      description);
}

// One of some words; the target's own is the default.
CLI::Option* add_choice_option(CLI::App& app, const std::string& name, std::string& target,
                               const std::vector<std::string>& choices,
                               const std::string& description);

// Any text that is not empty; `kind` in capitals: PATH.
CLI::Option* add_text_option(CLI::App& app, const std::string& name, std::string& target,
                             const std::string& kind, const std::string& description);
CLI::Option* add_texts_option(CLI::App& app, const std::string& name,
                              std::vector<std::string>& target, const std::string& kind,
                              const std::string& description);

// An option that needs no value; it may be true or false, as in --name=false.
CLI::Option* add_switch(CLI::App& app, const std::string& name, bool& target,
                        const std::string& description);

}  // namespace flashmla::tools
