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

using Pool = support::PooledError;

const char* name_of(support::Cut cut) {
  return cut == support::Cut::in_two ? ", requests cut in two" : ", requests cut in more";
}

std::string suite_fault(const SuitePool& pool) {
  return fmt::format(
      "{} suite, {}: the root mean square error of out is {:.3f} times that of rounding P once and "
      "out once ({:.3e} against {:.3e}, relative), wanted at most {}; over {} rows that see at "
      "least {} tokens",
      pool.suite, pool.rows, pool.error.ratio(), pool.error.error(), pool.error.model_error(),
      Pool::limit, pool.error.rows(), Pool::min_tokens);
}

std::string text_of(const SuitePool& pool) {
  const std::string name = fmt::format("  {}, {}:", pool.suite, pool.rows);
  if (pool.error.rows() == 0)
    return name + " no rows\n";
  return fmt::format("{} {:.3e} / {:.3e} = {:.3f} over {} rows{}\n", name, pool.error.error(),
                     pool.error.model_error(), pool.error.ratio(), pool.error.rows(),
                     pool.error.judged() ? "" : ", too few to judge");
}

Json to_json(const SuitePool& pool) {
  Json json{{"suite", pool.suite}, {"pool", pool.rows}, {"rows", pool.error.rows()}};
  if (pool.error.rows() > 0) {
    json["error"] = pool.error.error();
    json["model_error"] = pool.error.model_error();
    json["ratio"] = pool.error.ratio();
  }
  json["limit"] = Pool::limit;
  json["judged"] = pool.error.judged();
  json["passed"] = pool.error.passed();
  return json;
}

}  // namespace

std::vector<SuitePool> CheckReport::named_pools() const {
  std::vector<SuitePool> named;
  for (const auto& [suite, of_suite] : pools)
    for (const DType type : {DType::bf16, DType::fp16}) {
      const std::string name(name_of(type));
      std::vector<SuitePool> of_type{{suite, name, {}}};  // first all rows
      for (const auto& [key, pool] : of_suite) {
        if (key.type != type)
          continue;
        of_type[0].error.add(pool);
        if (key.cut != support::Cut::none && pool.rows() > 0)
          of_type.push_back({suite, name + name_of(key.cut), pool});
      }
      if (of_type[0].error.rows() > 0 || type == DType::bf16)
        named.insert(named.end(), of_type.begin(), of_type.end());
    }
  return named;
}

void CheckReport::judge_pools() {
  std::map<std::string, bool> judged;
  for (const SuitePool& pool : named_pools()) {
    judged[pool.suite] |= pool.error.judged();
    if (!pool.error.passed())
      faults.push_back(suite_fault(pool));
  }
  const bool whole = !options.only_case && !options.cases && options.shard.empty();
  const bool of_use = options.size == "short" || options.size == "full";
  for (const auto& [suite, any] : judged)
    if (whole && of_use && !any)
      faults.push_back(
          fmt::format("{} suite: fewer than {} rows see {} tokens or more, too few to "
                      "judge the error of out",
                      suite, Pool::min_rows, Pool::min_tokens));
}

void CheckReport::add(const std::string& suite, std::int64_t index, const CheckedCase& checked) {
  const support::CaseResult& result = checked.result;
  ++cases;
  ++suite_cases[suite];
  rows_checked += result.rows_checked;
  errors.add(result.errors);
  for (const support::CaseOption& option : checked.options)
    option_counts[std::string(option.name)] += option.on ? 1 : 0;
  support::add(result.pools, pools[suite]);
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
  json["failures"] = report.failures();
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
  json["pooled_errors"] = Json::array();
  for (const SuitePool& pool : report.named_pools())
    json["pooled_errors"].push_back(to_json(pool));
  json["suite_faults"] = report.faults;
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
  for (const std::string& fault : report.faults)
    text += fault + "\n";
  text += fmt::format("error of out / error of rounding P once and out once, at most {}:\n",
                      Pool::limit);
  for (const SuitePool& pool : report.named_pools())
    text += text_of(pool);
  text += "worst error / bound:";
  for (const auto& [name, error] : groups(report.errors))
    text += error->count > 0 ? fmt::format("  {} {:.3g}", name, error->worst)
                             : fmt::format("  {} -", name);
  text += fmt::format("\n{} cases, {} failures, {} rows against the oracle, {:.1f} s, seed {}\n",
                      report.cases, report.failures(), report.rows_checked, report.seconds,
                      report.seed);
  return text;
}

}  // namespace flashmla::tools
