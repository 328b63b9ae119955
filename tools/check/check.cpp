#include "tools/check/check.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <functional>
#include <memory>
#include <utility>

#include "flashmla/error.h"
#include "support/dense_runner.h"
#include "support/dense_suite.h"
#include "support/random.h"
#include "support/sparse_runner.h"
#include "support/sparse_suite.h"
#include "tools/command.h"
#include "tools/dense_options.h"
#include "tools/files.h"
#include "tools/progress.h"

namespace flashmla::tools {

namespace {

// The suites of a name: their cases by number.
struct Suite {
  std::string name;
  std::int64_t cases;
  std::function<CheckedCase(std::int64_t index, support::Memory& memory)> run;
};

template <class Cases>
Suite suite_of(std::string name, const Cases& cases) {
  return {std::move(name), cases.cases(), [cases](std::int64_t index, support::Memory& memory) {
            const auto drawn = cases.draw(index);
            return CheckedCase{support::describe(drawn), support::options_of(drawn),
                               support::run_case(drawn, memory)};
          }};
}

std::vector<Suite> suites_of(const CheckOptions& options, support::SuiteSize size,
                             std::uint64_t seed) {
  std::vector<Suite> suites{
      suite_of("dense", support::DenseSuite(size, seed)),
      suite_of("sparse", support::SparseSuite(AttentionKind::sparse_decode, size, seed)),
      suite_of("prefill", support::SparseSuite(AttentionKind::sparse_prefill, size, seed))};
  if (options.suite == "all") {
    if (options.only_case)
      throw BadInput("--case: wanted the suite that the case is of, not all");
    return suites;
  }
  std::erase_if(suites, [&](const Suite& suite) { return suite.name != options.suite; });
  return suites;
}

struct CaseRange {
  std::int64_t first;
  std::int64_t end;
};

CaseRange cases_of(const CheckOptions& options, std::int64_t suite_cases) {
  if (options.only_case) {
    if (*options.only_case >= suite_cases)
      throw BadInput(fmt::format("--case: given {}, wanted less than the suite's {} cases",
                                 *options.only_case, suite_cases));
    return {*options.only_case, *options.only_case + 1};
  }
  return {0, std::min(suite_cases, options.cases.value_or(suite_cases))};
}

int check(const CheckOptions& options) {
  CheckOptions seeded = options;
  if (!seeded.seed)
    seeded.seed = support::fresh_seed();
  const bool for_people = seeded.json != "-";
  if (!seeded.json.empty() && for_people)
    check_writable("--json", seeded.json);
  // The seed comes first, so that it is known however the work ends.
  fmt::print(for_people ? stdout : stderr, "suite {} ({}) on {}, seed {}\n", seeded.suite,
             seeded.size, seeded.backend, *seeded.seed);
  std::fflush(stdout);
  const CheckReport report = run_check(seeded);
  if (for_people)
    fmt::print("{}", to_text(report));
  write_json(seeded.json, to_json(report));
  return report.failed.empty() ? all_right : check_failed;
}

}  // namespace

CheckReport run_check(const CheckOptions& options) {
  const auto start = std::chrono::steady_clock::now();
  CheckReport report;
  report.options = options;
  report.seed = options.seed ? *options.seed : support::fresh_seed();
  const auto size = support::suite_size_of(options.size);
  const std::vector<Suite> suites =
      size ? suites_of(options, *size, report.seed) : std::vector<Suite>{};
  if (suites.empty())
    throw BadInput(fmt::format("no suite '{}' of size '{}'", options.suite, options.size));
  std::int64_t cases = 0;
  for (const Suite& suite : suites) {
    const auto [first, end] = cases_of(options, suite.cases);
    cases += end - first;
  }
  const auto memory = memory_of_backend(options.backend);
  Progress progress("check", cases);
  for (const Suite& suite : suites) {
    const auto [first, end] = cases_of(options, suite.cases);
    for (std::int64_t i = first; i < end; ++i) {
      report.add(suite.name, i, suite.run(i, *memory));
      progress.advance();
    }
  }
  report.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  return report;
}

Subcommand add_check(CLI::App& parent) {
  CLI::App* app = parent.add_subcommand("check", "Compare random cases with a float64 oracle");
  const auto options = std::make_shared<CheckOptions>();
  app->add_option("--suite", options->suite, "Which kind of attention")
      ->check(CLI::IsMember({"dense", "sparse", "prefill", "all"}))
      ->capture_default_str();
  app->add_option("--size", options->size,
                  "full: 1,040 dense, 900 sparse, 600 prefill cases; short: 300, 150, 100; tiny: "
                  "150, 100, 80 small ones")
      ->check(CLI::IsMember({"full", "short", "tiny"}))
      ->capture_default_str();
  app->add_option("--backend", options->backend, "Backend, and so the device, to run on")
      ->capture_default_str();
  app->add_option("--seed", options->seed, "Seed of the suite; a fresh one is printed");
  auto* only_case =
      app->add_option("--case", options->only_case, "Run this case of the suite alone")
          ->check(CLI::NonNegativeNumber);
  app->add_option("--cases", options->cases, "Run the first cases of each suite alone")
      ->check(CLI::PositiveNumber)
      ->excludes(only_case);
  app->add_option("--json", options->json, "Write the report to this file; - prints it instead");
  app->footer(
      "Example:\n"
      "  flashmla check --suite dense --backend cpu --seed 7 --json report.json\n"
      "Exit status: 0 every case passed, 1 a case failed, 2 bad input, 3 no backend serves the "
      "suite.");
  return {app, [options] { return check(*options); }};
}

}  // namespace flashmla::tools
