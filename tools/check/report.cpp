#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <array>
#include <utility>

#include "tools/check/check.h"

namespace flashmla::tools {

namespace {

using NamedError = std::pair<const char*, const support::GroupError*>;

std::array<NamedError, 6> groups(const support::Errors& errors) {
  return {{{"out_row", &errors.out_row},
           {"lse", &errors.lse},
           {"max_logit", &errors.max_logit},
           {"out_tensor", &errors.out_tensor},
           {"lse_tensor", &errors.lse_tensor},
           {"element", &errors.element}}};
}

}  // namespace

void CheckReport::add(const std::string& suite, std::int64_t index, const CheckedCase& checked) {
  const support::CaseResult& result = checked.result;
  ++cases;
  ++suite_cases[suite];
  rows_checked += result.rows_checked;
  errors.add(result.errors);
  for (const support::CaseOption& option : checked.options)
    option_counts[std::string(option.name)] += option.on ? 1 : 0;
  option_counts["split"] += result.split ? 1 : 0;
  if (!result.passed())
    failed.push_back({suite, index, checked.description, result.faults});
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
  json["suite_cases"] = report.suite_cases;
  json["rows_checked"] = report.rows_checked;
  json["seconds"] = report.seconds;
  json["cases_with_option"] = report.option_counts;
  json["failed_cases"] = Json::array();
  for (const FailedCase& failed : report.failed)
    json["failed_cases"].push_back({{"suite", failed.suite},
                                    {"case", failed.index},
                                    {"description", failed.description},
                                    {"faults", failed.faults}});
  return json;
}

std::string to_text(const CheckReport& report) {
  std::string text;
  for (const FailedCase& failed : report.failed) {
    text += fmt::format("{} case {} failed: {}\n", failed.suite, failed.index, failed.description);
    for (const std::string& fault : failed.faults)
      text += fmt::format("  {}\n", fault);
    text += fmt::format(
        "  again: flashmla check --suite {} --size {} --backend {} --seed {} --case {}\n",
        failed.suite, report.options.size, report.options.backend, report.seed, failed.index);
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
