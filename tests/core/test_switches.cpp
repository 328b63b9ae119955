#include "core/switches.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <string>

#include "flashmla/error.h"

namespace flashmla {
namespace {

class Switches : public ::testing::Test {
 protected:
  static constexpr const char* names[] = {"FLASHMLA_BACKEND", "FLASHMLA_NUM_THREADS",
                                          "FLASHMLA_CPU_ISA"};
  void SetUp() override { clear(); }
  void TearDown() override { clear(); }

  static void clear() {
    for (const char* name : names)
      unsetenv(name);
  }
};

TEST_F(Switches, AreAbsentWhenUnsetOrEmpty) {
  for (const bool set : {false, true}) {
    if (set)
      for (const char* name : names)
        setenv(name, "", 1);
    EXPECT_FALSE(switches::backend().has_value());
    EXPECT_FALSE(switches::num_threads().has_value());
    EXPECT_FALSE(switches::cpu_isa().has_value());
  }
}

TEST_F(Switches, AreReadEachTime) {
  setenv("FLASHMLA_BACKEND", "cuda,cpu", 1);
  EXPECT_EQ(switches::backend(), "cuda,cpu");
  setenv("FLASHMLA_BACKEND", "cpu", 1);
  EXPECT_EQ(switches::backend(), "cpu");
  setenv("FLASHMLA_CPU_ISA", "avx2", 1);
  EXPECT_EQ(switches::cpu_isa(), "avx2");
}

TEST_F(Switches, ThreadsAreANumberInRange) {
  for (const char* good : {"1", "7", "4096"}) {
    setenv("FLASHMLA_NUM_THREADS", good, 1);
    EXPECT_EQ(switches::num_threads(), std::stoi(good));
  }
}

TEST_F(Switches, OtherThreadCountsAreErrorsThatNameTheSwitch) {
  for (const char* bad : {"0", "-1", "4097", "99999999999999999999", "two", "2x", " 2", "1.5"}) {
    setenv("FLASHMLA_NUM_THREADS", bad, 1);
    try {
      switches::num_threads();
      ADD_FAILURE() << "accepted '" << bad << "'";
    } catch (const Error& error) {
      EXPECT_EQ(error.argument(), "FLASHMLA_NUM_THREADS");
      EXPECT_EQ(error.given(), bad);
    }
  }
}

}  // namespace
}  // namespace flashmla
