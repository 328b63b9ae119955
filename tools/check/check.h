// `flashmla check`: a suite of random cases, run on a backend and compared with the oracle.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "support/case.h"
#include "support/case_result.h"
#include "tools/files.h"

namespace flashmla::tools {

struct CheckOptions {
  std::string suite = "dense";
  std::string size = "full";
  std::string backend = "cpu";
  std::optional<std::uint64_t> seed;      // fresh where absent
  std::optional<std::int64_t> only_case;  // index in the suite
  std::optional<std::int64_t> cases;      // the suite's first ones
  std::string shard;                      // "i/n": the i-th of n parts of these
  std::int32_t jobs = 0;                  // cases at a time; 0: 1 on the CPU, 4 on a GPU
  std::string json;                       // as in write_json
};

struct FailedCase {
  std::string suite;
  std::int64_t index;
  std::string description;
  std::vector<std::string> faults;
};

// One case as a suite ran it.
struct CheckedCase {
  std::string description;
  std::vector<support::CaseOption> options;
  support::CaseResult result;
};

// Rows of a suite whose errors are pooled.
struct SuitePool {
  std::string suite;
  std::string rows;  // which: "bf16", "bf16, requests cut in two"
  support::PooledError error;
};

// What the suites found.
struct CheckReport {
  CheckOptions options;
  std::uint64_t seed = 0;
  std::int64_t cases = 0;
  std::int64_t rows_checked = 0;
  double seconds = 0;
  support::Errors errors;
  std::map<std::string, std::int64_t> suite_cases;    // of each suite that ran
  std::map<std::string, std::int64_t> option_counts;  // cases with the option on
  std::vector<FailedCase> failed;
  std::map<std::string, support::ErrorPools> pools;  // of each suite that ran
  std::vector<std::string> faults;                   // of suites as a whole, one line each

  void add(const std::string& suite, std::int64_t index, const CheckedCase& checked);

  // The pools by name: of each suite and type all rows, then those of requests that the
  // schedule cut.
  std::vector<SuitePool> named_pools() const;

  // Once all cases are there, adds the faults of suites as a whole: a pool beyond its limit; of the
  // sizes short and full also a whole suite that has too few rows to judge.
  void judge_pools();

  bool passed() const { return failed.empty() && faults.empty(); }
  std::size_t failures() const { return failed.size() + faults.size(); }
};

// The report for machines. A ratio that is infinite (NaN, or a wrong exact row) is null.
Json to_json(const CheckReport& report);

// The report for people, several lines.
std::string to_text(const CheckReport& report);

// Runs the cases. Throws BadInput, or flashmla::Error of code `unsupported` when the backend serves
// none.
CheckReport run_check(const CheckOptions& options);

}  // namespace flashmla::tools
