#include <fmt/format.h>

#include <array>
#include <utility>

#include "tools/check/check.h"

namespace flashmla::tools {

namespace {

using NamedError = std::pair<const char*, const support::GroupError*>;

std::array<NamedError, 5> groups(const support::Errors& errors) {
  return {{{"out_row", &errors.out_row},
           {"lse", &errors.lse},
           {"out_tensor", &errors.out_tensor},
           {"lse_tensor", &errors.lse_tensor},
           {"element", &errors.element}}};
}

}  // namespace

void CheckReport::add(std::int64_t index, const support::DenseCase& dense_case,
                      const support::CaseResult& result) {
  ++cases;
  rows_checked += result.rows_checked;
  errors.add(result.errors);
  for (const support::CaseOption& option : support::options_of(dense_case))
    option_counts[std::string(option.name)] += option.on ? 1 : 0;
  option_counts["split"] += result.split ? 1 : 0;
  if (!result.passed())
    failed.push_back({index, support::describe(dense_case), result.faults});
}

Json to_json(const CheckReport& report) {
  Json json;
  json["suite"] = report.options.suite;
  json["size"] = report.options.size;
  json["backend"] = report.options.backend;
  json["seed"] = report.seed;
  json["cases"] = report.cases;
  json["failures"] = report.failed.size();
  for (const auto& [name, error] : groups(report.errors)) {
    Json& entry = json["worst_error_over_bound"][name];
    entry["worst"] = error->worst;
    entry["checks"] = error->count;
    entry["failures"] = error->failures;
  }
  json["rows_checked"] = report.rows_checked;
  json["seconds"] = report.seconds;
  json["cases_with_option"] = report.option_counts;
  json["failed_cases"] = Json::array();
  for (const FailedCase& failed : report.failed)
    json["failed_cases"].push_back(
        {{"case", failed.index}, {"description", failed.description}, {"faults", failed.faults}});
  return json;
}

std::string to_text(const CheckReport& report) {
  std::string text;
  for (const FailedCase& failed : report.failed) {
    text += fmt::format("case {} failed: {}\n", failed.index, failed.description);
    for (const std::string& fault : failed.faults)
      text += fmt::format("  {}\n", fault);
    text += fmt::format(
        "  again: flashmla check --suite {} --size {} --backend {} --seed {} --case {}\n",
        report.options.suite, report.options.size, report.options.backend, report.seed,
        failed.index);
  }
  text += "worst error / bound:";
  for (const auto& [name, error] : groups(report.errors))
    text += error->count > 0 ? fmt::format("  {} {:.3g}", name, error->worst)
                             : fmt::format("  {} -", name);
  text += fmt::format("\n{} cases, {} failures, {} rows against the oracle, {:.1f} s, seed {}\n",
                      report.cases, report.failed.size(), report.rows_checked, report.seconds,
                      report.seed);
  return text;
}

}  // namespace flashmla::tools
