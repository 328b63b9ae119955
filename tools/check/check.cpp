#include "tools/check/check.h"

#include <fmt/format.h>
#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <charconv>
#include <chrono>
#include <cstdio>
#include <functional>
#include <limits>
#include <map>
#include <memory>
#include <mutex>
#include <utility>

#include "flashmla/error.h"
#include "support/dense_runner.h"
#include "support/dense_suite.h"
#include "support/parallel.h"
#include "support/random.h"
#include "support/sparse_runner.h"
#include "support/sparse_suite.h"
#include "tools/command.h"
#include "tools/dense_options.h"
#include "tools/files.h"
#include "tools/option_values.h"
#include "tools/progress.h"

namespace flashmla::tools {

namespace {

// A suite under its name: how many cases it has, and what runs one of them.
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

std::vector<Suite> suites_of(const CheckOptions& options, std::uint64_t seed) {
  const auto size = support::suite_size_of(options.size);
  if (!size)
    throw BadInput(fmt::format("--size: given {}, wanted a size of suites", shown(options.size)));
  const bool on_gpu = options.backend == "cuda";
  std::vector<Suite> suites{
      suite_of("dense", support::DenseSuite(*size, seed, on_gpu)),
      suite_of("sparse", support::SparseSuite(AttentionKind::sparse_decode, *size, seed, on_gpu)),
      suite_of("prefill",
               support::SparseSuite(AttentionKind::sparse_prefill, *size, seed, on_gpu))};
  std::erase_if(suites, [&](const Suite& suite) {
    return suite.cases == 0 || (options.suite != "all" && suite.name != options.suite);
  });
  if (suites.empty())
    throw BadInput(
        fmt::format("--suite: given {} of --size {}, wanted dense, sparse or all, which have it",
                    shown(options.suite), options.size));
  if (options.only_case && options.suite == "all")
    throw BadInput("--suite: given 'all' with --case, wanted the suite that the case is of");
  return suites;
}

// "2/5" is the second of five.
struct Shard {
  std::int64_t place = 1;
  std::int64_t count = 1;
};

Shard shard_of(const std::string& text) {
  Shard shard;
  const char* const end = text.data() + text.size();
  const auto [slash, no_place] = std::from_chars(text.data(), end, shard.place);
  const bool two = no_place == std::errc() && slash != end && *slash == '/';
  const auto [stopped, no_count] = std::from_chars(two ? slash + 1 : end, end, shard.count);
  if (no_count != std::errc() || stopped != end || shard.place < 1 || shard.place > shard.count)
    throw BadInput(fmt::format("--shard: given {}, wanted i/n with 1 ≤ i ≤ n", shown(text)));
  return shard;
}

// The numbers of the cases of a suite that the options ask for. A hash assigns cases to shards,
// because the costs of cases recur with their numbers.
std::vector<std::int64_t> cases_of(const CheckOptions& options, std::int64_t suite_cases) {
  if (options.only_case) {
    if (*options.only_case >= suite_cases)
      throw BadInput(fmt::format("--case: given {}, wanted less than the suite's {} cases",
                                 *options.only_case, suite_cases));
    return {*options.only_case};
  }
  const Shard shard = options.shard.empty() ? Shard{} : shard_of(options.shard);
  std::vector<std::int64_t> cases;
  const std::int64_t end = std::min(suite_cases, options.cases.value_or(suite_cases));
  for (std::int64_t i = 0; i < end; ++i)
    if (support::key_of(0, i) % static_cast<std::uint64_t>(shard.count) ==
        static_cast<std::uint64_t>(shard.place - 1))
      cases.push_back(i);
  return cases;
}

// How many cases of all suites the options ask for. Throws where something is wrong with the
// options.
std::int64_t count_cases(const CheckOptions& options) {
  std::int64_t cases = 0;
  for (const Suite& suite : suites_of(options, 0))
    cases += std::ssize(cases_of(options, suite.cases));
  return cases;
}

// Runs several cases at a time: while one waits for its device, others draw their numbers.
void run_cases(const Suite& suite, const std::vector<std::int64_t>& cases, int jobs,
               support::Memory& memory, CheckReport& report, Progress& progress) {
  std::mutex mutex;
  std::map<std::int64_t, CheckedCase> done;  // done, but not reported: the report is in order
  std::size_t reported = 0;
  support::parallel_for(std::ssize(cases), jobs, [&](std::int64_t i) {
    CheckedCase checked = suite.run(cases[i], memory);
    const std::lock_guard lock(mutex);
    done.emplace(i, std::move(checked));
    for (auto first = done.find(reported); first != done.end(); first = done.find(++reported)) {
      report.add(suite.name, cases[reported], first->second);
      done.erase(first);
    }
    progress.advance();
  });
}

int check(const CheckOptions& options) {
  CheckOptions seeded = options;
  if (!seeded.seed)
    seeded.seed = support::fresh_seed();
  const bool for_people = seeded.json != "-";
  if (!seeded.json.empty() && for_people)
    check_writable("--json", seeded.json);
  count_cases(seeded);  // throws where an option is wrong
  // The seed comes first, so that it is known however the work ends.
  fmt::print(for_people ? stdout : stderr, "suite {} ({}) on {}, seed {}\n", seeded.suite,
             seeded.size, seeded.backend, *seeded.seed);
  std::fflush(stdout);
  const CheckReport report = run_check(seeded);
  if (for_people)
    fmt::print("{}", to_text(report));
  write_json(seeded.json, to_json(report));
  return report.passed() ? all_right : check_failed;
}

}  // namespace

CheckReport run_check(const CheckOptions& options) {
  const auto start = std::chrono::steady_clock::now();
  CheckReport report;
  report.options = options;
  report.seed = options.seed ? *options.seed : support::fresh_seed();
  const std::vector<Suite> suites = suites_of(options, report.seed);
  const auto memory = memory_of_backend(options.backend);
  Progress progress("check", count_cases(options));
  const int default_jobs = options.backend == "cuda" ? 4 : 1;
  for (const Suite& suite : suites)
    run_cases(suite, cases_of(options, suite.cases), options.jobs > 0 ? options.jobs : default_jobs,
              *memory, report, progress);
  report.judge_pools();
  report.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  return report;
}

Subcommand add_check(CLI::App& parent) {
  CLI::App* app = parent.add_subcommand("check", "Compare random cases with a float64 oracle");
  const auto options = std::make_shared<CheckOptions>();
  constexpr std::int64_t most = std::numeric_limits<std::int64_t>::max();
  add_choice_option(*app, "--suite", options->suite, {"dense", "sparse", "prefill", "all"},
                    "Which kind of attention");
  add_choice_option(*app, "--size", options->size, {"full", "short", "tiny", "sanitizer"},
                    "full: 1,040 dense (1,524 on cuda), 900 sparse (1,510 on cuda), 600 prefill "
                    "cases; short: 300, 150, 100; tiny: 150, 100, 80 small ones; sanitizer: small "
                    "dense or sparse ones that reach every kernel of a GPU");
  add_backend_option(*app, options->backend);
  add_seed_option(*app, options->seed, "Seed of the suite; a fresh one is printed");
  auto* only_case = add_integer_option(*app, "--case", options->only_case, 0, most,
                                       "Run this case of the suite alone");
  add_integer_option(*app, "--cases", options->cases, 1, most,
                     "Run the first cases of each suite alone")
      ->excludes(only_case);
  const auto take_shard = [options](const std::string& text) {
    shard_of(text);  // throws where the text is no shard
    options->shard = text;
  };
  add_value_option(*app, "--shard", "i/n", take_shard, "The i-th of n parts of each suite")
      ->excludes(only_case);
  add_integer_option(*app, "--jobs", options->jobs, 1, 64,
                     "Cases at a time (default: 1 on the CPU, 4 on a GPU)");
  add_text_option(*app, "--json", options->json, "PATH",
                  "Write the report to this file; - prints it instead");
  app->footer(
      "Example:\n"
      "  flashmla check --suite dense --backend cpu --seed 7 --json report.json\n"
      "Besides the bounds of each case, the error of out is pooled over all rows of a suite that\n"
      "see at least 1,024 tokens, and compared with that of rounding P once and out once.\n"
      "Exit status: 0 every case and every pool passed, 1 one failed, 2 bad input, 3 no backend "
      "serves the suite.");
  return {app, [options] { return check(*options); }};
}

}  // namespace flashmla::tools
