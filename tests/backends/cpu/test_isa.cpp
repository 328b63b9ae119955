#include "backends/cpu/isa.h"

#include <gtest/gtest.h>

#include <cstdlib>

#include "flashmla/error.h"

namespace flashmla::backends::cpu {
namespace {

class Isa : public ::testing::Test {
 protected:
  void SetUp() override { unsetenv("FLASHMLA_CPU_ISA"); }
  void TearDown() override { unsetenv("FLASHMLA_CPU_ISA"); }
};

TEST_F(Isa, TheBaselineIsAlwaysThereAndLast) {
  EXPECT_STREQ(usable_kernels().back()->name, "baseline");
}

TEST_F(Isa, TheBestIsChosenWithoutASwitch) {
  EXPECT_EQ(&chosen_kernels(), usable_kernels().front());
}

TEST_F(Isa, TheSwitchChooses) {
  for (const KernelTable* kernels : usable_kernels()) {
    setenv("FLASHMLA_CPU_ISA", kernels->name, 1);
    EXPECT_EQ(&chosen_kernels(), kernels);
  }
}

TEST_F(Isa, AnUnknownOneIsAnErrorThatNamesTheSwitch) {
  setenv("FLASHMLA_CPU_ISA", "mmx", 1);
  try {
    chosen_kernels();
    ADD_FAILURE() << "accepted";
  } catch (const Error& error) {
    EXPECT_EQ(error.argument(), "FLASHMLA_CPU_ISA");
    EXPECT_EQ(error.given(), "mmx");
    EXPECT_NE(error.wanted().find("baseline"), std::string::npos);
  }
}

}  // namespace
}  // namespace flashmla::backends::cpu
