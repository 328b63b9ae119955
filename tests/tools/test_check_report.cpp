// How `flashmla check` judges the pooled errors of its cases.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include <vector>

#include "tools/check/check.h"

namespace flashmla::tools {
namespace {

using support::PooledError;
using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

// `rows` rows of one element. The error of the model is 0.001, that of out is `error`.
CheckedCase case_of(std::int64_t rows, double error, support::Cut cut = support::Cut::in_two,
                    DType type = DType::bf16) {
  support::Reference reference;
  reference.out = {1.0};
  reference.plain = {1.001f};
  reference.spread = 1;
  const std::vector<float> out{static_cast<float>(1 + error)};
  CheckedCase checked;
  PooledError& pool = checked.result.pools[{type, cut}];
  for (std::int64_t i = 0; i < rows; ++i)
    pool.add_row(type, out, reference, PooledError::min_tokens);
  return checked;
}

CheckReport report_of(const std::vector<CheckedCase>& cases, CheckOptions options = {}) {
  CheckReport report;
  report.options = std::move(options);
  for (const CheckedCase& checked : cases)
    report.add("dense", report.cases, checked);
  report.judge_pools();
  return report;
}

constexpr std::int64_t enough = PooledError::min_rows;

TEST(CheckReport, AccurateSuitesPass) {
  const CheckReport report = report_of({case_of(enough / 2, 0.001), case_of(enough / 2, 0.001)});
  EXPECT_THAT(report.faults, IsEmpty());
  EXPECT_TRUE(report.passed());
  EXPECT_THAT(to_text(report),
              HasSubstr("dense, bf16, requests cut in two: 1.000e-03 / 1.000e-03"));
}

// Neither case exceeds a bound of its own.
TEST(CheckReport, ALossOverManyRowsFailsTheRun) {
  const CheckReport report =
      report_of({case_of(enough / 2, 0.0012), case_of(enough / 2, 0.0011), case_of(5, 0)});
  EXPECT_FALSE(report.passed());
  EXPECT_THAT(report.failed, IsEmpty());
  const auto fault = AllOf(HasSubstr("dense suite, bf16"), HasSubstr("1.1"),
                           HasSubstr("at most 1.08"), HasSubstr("over 205 rows"));
  EXPECT_THAT(report.faults, ElementsAre(fault, AllOf(fault, HasSubstr("requests cut in two"))));
  EXPECT_THAT(to_text(report), HasSubstr(report.faults[0]));
  const Json json = to_json(report);
  EXPECT_EQ(json["failures"], 2);
  EXPECT_EQ(json["suite_faults"][0], report.faults[0]);
  EXPECT_EQ(json["pooled_errors"][0]["rows"], 205);
  EXPECT_EQ(json["pooled_errors"][0]["passed"], false);
}

// Many accurate rows of unsplit requests do not hide an error in rows of split requests.
TEST(CheckReport, CutRequestsAreJudgedByThemselves) {
  const CheckReport report =
      report_of({case_of(enough, 0.0013), case_of(20 * enough, 0.0008, support::Cut::none)});
  EXPECT_THAT(report.faults, ElementsAre(HasSubstr("bf16, requests cut in two")));
}

TEST(CheckReport, TypesArePooledApart) {
  const CheckReport report = report_of({case_of(enough, 0.0013, support::Cut::in_two, DType::fp16),
                                        case_of(20 * enough, 0.0008, support::Cut::none)});
  EXPECT_THAT(report.faults,
              ElementsAre(HasSubstr("suite, fp16:"), HasSubstr("fp16, requests cut in two")));
}

TEST(CheckReport, AWholeSuiteWithoutRowsToJudgeFails) {
  for (const char* size : {"full", "short"}) {
    CheckOptions options;
    options.size = size;
    EXPECT_THAT(report_of({case_of(enough - 1, 0.001)}, options).faults,
                ElementsAre(HasSubstr("dense suite: fewer than 200 rows")));
    EXPECT_THAT(report_of({CheckedCase{}}, options).faults,
                ElementsAre(HasSubstr("dense suite: fewer than 200 rows")));
    options.cases = 1;
    EXPECT_THAT(report_of({CheckedCase{}}, options).faults, IsEmpty());
  }
  CheckOptions tiny;
  tiny.size = "tiny";
  const CheckReport report = report_of({CheckedCase{}, case_of(3, 1)}, tiny);
  EXPECT_TRUE(report.passed());
  EXPECT_THAT(to_text(report), HasSubstr("over 3 rows, too few to judge"));
  EXPECT_THAT(to_text(report_of({CheckedCase{}}, tiny)), HasSubstr("dense, bf16: no rows"));
}

}  // namespace
}  // namespace flashmla::tools
