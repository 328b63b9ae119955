// The command `flashmla`. Exit status: 0 right, 1 a check failed, 2 bad input, 3 no backend serves
// it.
#include <fmt/format.h>
#include <CLI/CLI.hpp>

#include <algorithm>
#include <cstdio>
#include <exception>
#include <new>
#include <string>
#include <vector>

#include "flashmla/backends.h"
#include "flashmla/error.h"
#include "tools/command.h"

namespace flashmla::tools {

namespace {

// One line on standard error, whatever the message holds.
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
    report_error(name, error.what());
    return error.code() == ErrorCode::invalid_argument ? bad_input : no_backend;
  } catch (const std::bad_alloc&) {
    report_error(name, "not enough memory for this size");
  } catch (const std::exception& error) {
    report_error(name, error.what());
  }
  return bad_input;
}

// "flashmla run" once the subcommand is known, "flashmla" before.
std::string name_of(const CLI::App& app) {
  const std::vector<CLI::App*> parsed = app.get_subcommands();
  return parsed.empty() ? "flashmla" : "flashmla " + parsed.front()->get_name();
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
    report_error(name, fmt::format("{}; see {} --help", error.what(), name));
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
