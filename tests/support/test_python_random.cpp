// Compares with the output of CPython 3.11.
#include "support/python_random.h"

#include <gtest/gtest.h>

namespace flashmla::support {
namespace {

TEST(PythonRandom, DrawsWhatPythonDraws) {
  // r = random.Random(seed); print(repr(r.random()), repr(r.random()), repr(r.normalvariate(3, 2)))
  struct Expected {
    std::uint64_t seed;
    double first;
    double second;
    double normal;
  };
  for (const Expected& expected :
       {Expected{0, 0.84442185152504812, 0.75795440294030247, 2.6322635578134834},
        Expected{1, 0.13436424411240122, 0.84743373693723267, 4.2149117152874123},
        Expected{12345678901234567, 0.097027023109351074, 0.98778639485648212,
                 1.8602611580078661}}) {
    PythonRandom random(expected.seed);
    EXPECT_EQ(random.unit(), expected.first) << expected.seed;
    EXPECT_EQ(random.unit(), expected.second) << expected.seed;
    EXPECT_DOUBLE_EQ(random.normal(3, 2), expected.normal) << expected.seed;
  }
}

// More numbers than the 624 words of one state.
TEST(PythonRandom, GoesOnAsPythonDoes) {
  PythonRandom random(0);
  for (int i = 0; i < 2; ++i)
    random.unit();
  random.normal(3, 2);
  for (int i = 0; i < 1000; ++i)
    random.unit();
  EXPECT_DOUBLE_EQ(random.normal(0, 1), -1.1877859100142985);
}

}  // namespace
}  // namespace flashmla::support
