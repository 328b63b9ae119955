#include "tools/option_names.h"

#include <CLI/CLI.hpp>

#include <algorithm>
#include <cctype>
#include <string_view>
#include <vector>

namespace flashmla::tools {

namespace {

// The library's names of arguments and the options that stand for them. Where there are several,
// the one that was given counts, or else the first one that the subcommand has.
struct OptionName {
  std::string_view argument;
  std::vector<const char*> options;
};

const std::vector<OptionName>& option_names() {
  static const std::vector<OptionName> names{
      {"query_heads", {"--heads", "--shape"}},
      {"kv_heads", {"--kv-heads"}},
      {"qk_dim", {"--d-qk"}},
      {"batch", {"--batch", "--lengths", "--lengths-file", "--shape", "--max-batch"}},
      {"query_tokens", {"--query-tokens", "--shape", "--speculative"}},
      {"page_size", {"--page-size"}},
      {"max_pages", {"--tokens", "--lengths", "--lengths-file", "--shape", "--pages"}},
      {"lengths", {"--tokens", "--lengths", "--lengths-file", "--shape"}},
      {"max_workers", {"--max-workers"}},
      {"kv_format", {"--format"}},
      {"query_type", {"--format"}},
      {"kind", {"--kind", "--suite"}},
      {"topk", {"--topk", "--shape"}},
      {"extra_topk", {"--extra-topk"}},
      {"extra_page_size", {"--extra-page-size"}},
      {"softmax_scale", {"--softmax-scale"}},
      {"batch_invariant", {"--batch-invariant"}},
      {"causal", {"--causal", "--shape"}}};
  return names;
}

// The option that gave an argument of the library its value; the argument where there is none.
std::string option_of(const CLI::App& app, const std::string& argument) {
  const auto name = std::ranges::find(option_names(), argument, &OptionName::argument);
  if (name == option_names().end())
    return argument;
  std::string first;
  for (const char* option : name->options) {
    const CLI::Option* const found = app.get_option_no_throw(option);
    if (found != nullptr && found->count() > 0)
      return option;
    if (found != nullptr && first.empty())
      first = option;
  }
  return first.empty() ? argument : first;
}

}  // namespace

std::string in_options(const CLI::App& app, const std::string& message) {
  const auto in_name = [](char c) {
    return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_';
  };
  std::string text;
  for (auto at = message.begin(); at != message.end();) {
    const auto end = std::find_if_not(at, message.end(), in_name);
    const std::string word(at, end);
    // A name without an underscore is an English word as well. It is the argument where a colon
    // follows it or the message begins with it.
    const bool named = word.find('_') != std::string::npos ||
                       (end != message.end() && (*end == ':' || at == message.begin()));
    text += named ? option_of(app, word) : word;
    at = end;
    if (at != message.end())
      text += *at++;
  }
  return text;
}

}  // namespace flashmla::tools
