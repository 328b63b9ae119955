// Errors of the library in the words of the command.
#pragma once

#include <string>

namespace CLI {
class App;
}

namespace flashmla::tools {

// Replaces every name of a library's argument in a message by the option that gave it its value:
// "qk_dim: given 192, …" becomes "--d-qk: given 192, …". `app` is the subcommand, once parsed.
std::string in_options(const CLI::App& app, const std::string& message);

}  // namespace flashmla::tools
