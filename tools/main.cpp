// The command `flashmla`. Exit status: 0 right, 1 a check failed, 2 bad input, 3 no backend serves
// it.
#include <fmt/format.h>
#include <CLI/CLI.hpp>

#include <algorithm>
#include <cstdio>
#include <exception>
#include <new>
#include <string>
#include <string_view>
#include <vector>

#include "flashmla/backends.h"
#include "flashmla/error.h"
#include "tools/command.h"
#include "tools/option_names.h"
#include "tools/option_values.h"

namespace flashmla::tools {

namespace {

// Writes one line to standard error, even if the message has several.
void report_error(const std::string& command, std::string message) {
  std::ranges::replace(message, '\n', ' ');
  std::fputs(fmt::format("{}: {}\n", command, message).c_str(), stderr);
}

int run_subcommand(const std::string& name, const Subcommand& subcommand) {
  try {
    const int status = subcommand.run();
    if (std::fflush(stdout) != 0)
      throw BadInput("standard output cannot be written");
    return status;
  } catch (const Error& error) {
    const bool wrong = error.code() == ErrorCode::invalid_argument;
    report_error(name, wrong ? in_options(*subcommand.app, error.what()) : error.what());
    return wrong ? bad_input : no_backend;
  } catch (const std::bad_alloc&) {
    report_error(name, "not enough memory for this size");
  } catch (const std::exception& error) {
    report_error(name, error.what());
  }
  return bad_input;
}

// The name in front of a message: "flashmla run" once the subcommand is known, "flashmla" before.
std::string name_of(const CLI::App& app) {
  const std::vector<CLI::App*> parsed = app.get_subcommands();
  return parsed.empty() ? "flashmla" : "flashmla " + parsed.front()->get_name();
}

// What is wrong with the words of a command line, as CLI11 says it. CLI11 says "--heads: 1 required
// INT 1 … 65536 missing" of an option without its value; that message is put in the words of the
// others.
std::string what_of(const CLI::ParseError& error) {
  const std::string text = error.what();
  constexpr std::string_view middle = ": 1 required ";
  constexpr std::string_view end = " missing";
  const std::size_t at = text.find(middle);
  if (at == std::string::npos || !text.ends_with(end))
    return text;
  const std::size_t kind = at + middle.size();
  return fmt::format("{}: given nothing, wanted {}", text.substr(0, at),
                     text.substr(kind, text.size() - end.size() - kind));
}

// What is wrong with a command line without a subcommand.
std::string without_subcommand(const CLI::App& app, int argc, char** argv) {
  std::vector<std::string> names;
  for (const CLI::App* subcommand : app.get_subcommands({}))
    names.push_back(subcommand->get_name());
  return fmt::format("given {}, wanted a subcommand: {} or {}",
                     argc > 1 ? shown(argv[1]) : "nothing",
                     fmt::join(names.begin(), names.end() - 1, ", "), names.back());
}

int run_command(int argc, char** argv) {
  CLI::App app("FlashMLA: Multi-head Latent Attention kernels. Plan, run, check and measure them.",
               "flashmla");
  app.set_version_flag("--version", fmt::format("flashmla {}", version()));
  app.require_subcommand(1);
  app.footer(
      "Example:\n"
      "  flashmla replay traces/azure_conversation_2023.csv --max-requests 200\n"
      "Exit status: 0 right, 1 a check failed, 2 bad input, 3 no backend serves it.");
  const std::vector<Subcommand> subcommands = {add_info(app),  add_plan(app),  add_run(app),
                                               add_check(app), add_bench(app), add_replay(app)};
  try {
    app.parse(argc, argv);
  } catch (const CLI::Success& wanted) {  // --help and --version
    return app.exit(wanted);
  } catch (const CLI::ParseError& error) {
    const std::string name = name_of(app);
    const std::string what =
        app.get_subcommands().empty() ? without_subcommand(app, argc, argv) : what_of(error);
    report_error(name, fmt::format("{}; see {} --help", what, name));
    return bad_input;
  } catch (const BadInput& error) {  // a value of several parts, as of --shape
    report_error(name_of(app), error.what());
    return bad_input;
  }
  const auto chosen = std::ranges::find_if(
      subcommands, [](const Subcommand& subcommand) { return subcommand.app->parsed(); });
  return run_subcommand(name_of(app), *chosen);
}

}  // namespace

}  // namespace flashmla::tools

int main(int argc, char** argv) {
  try {
    return flashmla::tools::run_command(argc, argv);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "flashmla: %s\n", error.what());
    return flashmla::tools::bad_input;
  }
}
