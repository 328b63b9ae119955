// Expects an Error (invalid_argument) that names one argument and says what was given.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <string>

#include "flashmla/error.h"

namespace flashmla::tests {

inline void expect_rejected(const std::function<void()>& call, const std::string& argument,
                            const std::string& given) {
  try {
    call();
    ADD_FAILURE() << "nothing was thrown; wanted an error about " << argument;
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::invalid_argument) << error.what();
    EXPECT_EQ(error.argument(), argument) << error.what();
    EXPECT_THAT(error.given(), testing::HasSubstr(given)) << error.what();
    EXPECT_FALSE(error.wanted().empty());
    EXPECT_THAT(error.what(),
                testing::AllOf(testing::HasSubstr(argument), testing::HasSubstr(error.wanted())));
  }
}

}  // namespace flashmla::tests
