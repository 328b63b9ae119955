#include "tools/replay/trace.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <string>

#include "support/random.h"
#include "tools/command.h"

namespace flashmla::tools {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr const char* header = "arrival_s,context_tokens,generated_tokens\n";

// The message of the BadInput that a text leads to; empty when it is accepted.
std::string complaint(const std::string& text) {
  try {
    parse_trace(text, "t.csv");
  } catch (const BadInput& error) {
    return error.what();
  }
  return {};
}

std::string complaint_about_line(const std::string& line) {
  return complaint(header + std::string("0,1,2\n") + line);
}

TEST(Trace, ReadsColumnsByName) {
  const Trace trace = parse_trace(
      "generated_tokens,note,arrival_s,context_tokens\n7,x,0.25,100\n0,,1.5e1,0\n", "t.csv");
  ASSERT_EQ(trace.requests.size(), 2u);
  EXPECT_EQ(trace.requests[0].arrival, 0.25);
  EXPECT_EQ(trace.requests[0].context, 100);
  EXPECT_EQ(trace.requests[0].generated, 7);
  EXPECT_EQ(trace.requests[1].arrival, 15);
  EXPECT_EQ(trace.requests[1].context, 0);
  EXPECT_EQ(trace.requests[1].generated, 0);
  EXPECT_EQ(trace.out_of_order, 0u);
}

TEST(Trace, AcceptsCrLfByteOrderMarkEmptyLinesAndNoLastNewline) {
  const Trace trace = parse_trace(
      "\xef\xbb\xbf"
      "arrival_s,context_tokens,generated_tokens\r\n\r\n1, 2 ,3\r\n\n4,5,6",
      "t.csv");
  ASSERT_EQ(trace.requests.size(), 2u);
  EXPECT_EQ(trace.requests[0].context, 2);
  EXPECT_EQ(trace.requests[1].generated, 6);
}

TEST(Trace, SortsArrivalsStably) {
  const Trace trace =
      parse_trace(std::string(header) + "5,1,1\n2,2,2\n5,3,3\n2,4,4\n9,5,5\n", "t.csv");
  std::vector<std::int32_t> order;
  for (const Request& request : trace.requests)
    order.push_back(request.context);
  EXPECT_THAT(order, ::testing::ElementsAre(2, 4, 1, 3, 5));
  EXPECT_EQ(trace.out_of_order, 2u);
}

TEST(Trace, AcceptsTheLargestRequest) {
  EXPECT_EQ(complaint_about_line("0,2147483647,0"), "");
  EXPECT_EQ(complaint_about_line("0,1147483647,1000000000"), "");
}

TEST(Trace, RejectsBadHeaders) {
  EXPECT_THAT(complaint(""), AllOf(HasSubstr("t.csv: line 1"), HasSubstr("empty file")));
  EXPECT_THAT(complaint(header), HasSubstr("no request"));
  EXPECT_THAT(complaint("arrival_s,context_tokens\n0,1\n"),
              AllOf(HasSubstr("line 1"), HasSubstr("without generated_tokens")));
  EXPECT_THAT(complaint("0,1,2\n"), HasSubstr("without arrival_s"));
  EXPECT_THAT(complaint("arrival_s,context_tokens,generated_tokens,arrival_s\n0,1,2,3\n"),
              HasSubstr("arrival_s twice"));
}

TEST(Trace, RejectsBadLines) {
  for (const char* line : {"0,1",
                           "0",
                           "0,1,2,3",
                           "x,1,2",
                           "0,x,2",
                           "0,1,x",
                           "-1,1,2",
                           "0,-1,2",
                           "0,1,-2",
                           "nan,1,2",
                           "NaN,1,2",
                           "inf,1,2",
                           "-inf,1,2",
                           "0,nan,2",
                           "0,1.5,2",
                           "0,1e3,2",
                           "1e999,1,2",
                           ",1,2",
                           "0,,2",
                           "0,1,",
                           "0,1 2,3",
                           "0x10,1,2",
                           "0,0x10,2",
                           "+1,1,2",
                           "0,1000000000000,2",
                           "0,1,1000000000000",
                           "0,99999999999999999999999,1",
                           "0,2147483648,0",
                           "0,2147483647,1",
                           "0,1073741824,1073741824",
                           "0,1,\"2\"",
                           "\"0\",1,2"}) {
    const std::string message = complaint_about_line(line);
    EXPECT_THAT(message, AllOf(HasSubstr("t.csv: line 3: given "), HasSubstr(", wanted "),
                               Not(HasSubstr("\n"))))
        << line;
  }
}

TEST(Trace, ShowsStrangeBytesOnOneLine) {
  const std::string message =
      complaint_about_line(std::string("0,\x01\xff\0\r,", 6) + std::string(500, 'a'));
  EXPECT_THAT(message, AllOf(HasSubstr("\\x01\\xff\\x00\\x0d"), Not(HasSubstr("\n"))));
  EXPECT_LT(message.size(), 300u);
}

TEST(Trace, RejectsWhatIsNoReadableFile) {
  EXPECT_THROW(read_trace("/no/such/file.csv"), BadInput);
  EXPECT_THROW(read_trace(::testing::TempDir()), BadInput);
  EXPECT_THROW(read_trace(""), BadInput);
}

TEST(Trace, ReadsAFile) {
  const auto path = std::filesystem::path(::testing::TempDir()) / "flashmla_trace.csv";
  std::ofstream(path, std::ios::binary) << header << "3,4,5\n";
  const Trace trace = read_trace(path.string());
  std::filesystem::remove(path);
  ASSERT_EQ(trace.requests.size(), 1u);
  EXPECT_EQ(trace.requests[0].generated, 5);
}

// A good file with some bytes replaced, removed or inserted, or plain noise: either a sound trace
// comes out or one line of complaint.
std::string damaged(support::Random& random) {
  std::string text = header;
  for (std::int64_t line = random.between(0, 5); line > 0; --line)
    text += std::to_string(random.between(0, 9)) + "," + std::to_string(random.between(0, 999)) +
            "," + std::to_string(random.between(0, 99)) + "\n";
  if (random.chance(0.3))
    text.assign(static_cast<std::size_t>(random.between(0, 200)), ' ');
  constexpr std::string_view likely = ",,\n\r0123456789-+.eEnaif \"";
  for (std::int64_t edits = random.between(1, 30); edits > 0; --edits) {
    const auto at = static_cast<std::size_t>(random.between(0, std::ssize(text)));
    const char byte = random.chance(0.5) ? static_cast<char>(random.next() & 0xff)
                                         : likely[random.next() % likely.size()];
    if (at == text.size() || random.chance(0.3))
      text.insert(at, 1, byte);
    else if (random.chance(0.4))
      text.erase(at, static_cast<std::size_t>(random.between(1, 5)));
    else
      text[at] = byte;
  }
  return text;
}

TEST(Trace, SurvivesAnyBytes) {
  const std::uint64_t seed = support::fresh_seed();
  int accepted = 0;
  int refused = 0;
  for (std::uint64_t i = 0; i < 20000; ++i) {
    SCOPED_TRACE(::testing::Message() << "seed " << seed << ", text " << i);
    support::Random random(support::key_of(seed, i));
    try {
      const Trace trace = parse_trace(damaged(random), "noise");
      ++accepted;
      double clock = 0;
      ASSERT_FALSE(trace.requests.empty());
      for (const Request& request : trace.requests) {
        ASSERT_TRUE(std::isfinite(request.arrival));
        ASSERT_GE(request.arrival, clock);
        ASSERT_GE(request.context, 0);
        ASSERT_GE(request.generated, 0);
        ASSERT_LE(std::int64_t{request.context} + request.generated, 2147483647);
        clock = request.arrival;
      }
    } catch (const BadInput& error) {
      ++refused;
      ASSERT_THAT(error.what(), AllOf(HasSubstr("noise: line "), Not(HasSubstr("\n"))));
    }
  }
  EXPECT_GT(accepted, 0);
  EXPECT_GT(refused, 1000);
}

}  // namespace
}  // namespace flashmla::tools
