// What the subcommands of `flashmla` share: how they register, and the exit status they end with.
#pragma once

#include <functional>
#include <stdexcept>

namespace CLI {
class App;
}

namespace flashmla::tools {

enum ExitStatus : int {
  all_right = 0,
  check_failed = 1,
  bad_input = 2,
  no_backend = 3,
};

// Bad input that the tool itself found (a trace file, an option): one clear line, exit status 2.
class BadInput : public std::runtime_error {
  using std::runtime_error::runtime_error;
};

struct Subcommand {
  CLI::App* app;
  std::function<int()> run;  // returns an ExitStatus
};

Subcommand add_info(CLI::App& parent);
Subcommand add_plan(CLI::App& parent);
Subcommand add_run(CLI::App& parent);
Subcommand add_check(CLI::App& parent);
Subcommand add_bench(CLI::App& parent);
Subcommand add_replay(CLI::App& parent);

}  // namespace flashmla::tools
