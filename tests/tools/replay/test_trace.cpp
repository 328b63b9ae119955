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

// The message of the BadInput that a text causes; empty where the text is accepted.
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
                           "0,1,\"2",
                           "\"0\"0,1,2",
                           "0,1,\" 2\"",
                           "0,1,2\""}) {
    const std::string message = complaint_about_line(line);
    EXPECT_THAT(message, AllOf(HasSubstr("t.csv: line 3: given "), HasSubstr(", wanted "),
                               Not(HasSubstr("\n"))))
        << line;
  }
}

TEST(Trace, ReadsQuotedFields) {
  const Trace trace = parse_trace(
      "note,\"arrival_s\",context_tokens,\"generated_tokens\"\r\n"
      "\"a, b \"\"c\"\" \",\"0.5\",1,2\r\n"
      "\"two\r\nlines\n\",1,3, \"4\" \n"
      "\"\",2,5,6",
      "t.csv");
  ASSERT_EQ(trace.requests.size(), 3u);
  EXPECT_EQ(trace.requests[0].arrival, 0.5);
  EXPECT_EQ(trace.requests[0].generated, 2);
  EXPECT_EQ(trace.requests[1].generated, 4);
  EXPECT_EQ(trace.requests[2].context, 5);
}

TEST(Trace, CountsTheLinesOfQuotedFields) {
  const std::string noted = "note,arrival_s,context_tokens,generated_tokens\n";
  EXPECT_THAT(complaint(noted + "\"two\nlines\",1,3,4\n\nx,1,3,x\n"), HasSubstr("t.csv: line 5: "));
  EXPECT_THAT(complaint(noted + "a,1,3,4\n\"two\nlines\",1,x,4\n"), HasSubstr("t.csv: line 3: "));
  EXPECT_THAT(complaint(noted + "a,1,3,4\n\"open\n,1,3,4\n"),
              AllOf(HasSubstr("t.csv: line 3: "), HasSubstr("not closed")));
}

TEST(Trace, ReadsAzureTracesAsPublished) {
  const Trace trace = parse_trace(
      "TIMESTAMP,ContextTokens,GeneratedTokens\r\n"
      "2023-11-16 18:15:46.6805900,374,44\r\n"
      "2023-11-16 18:15:50.9951690,396,109\r\n"
      "2023-11-17 00:00:00.0000000,1,2",
      "t.csv");
  ASSERT_EQ(trace.requests.size(), 3u);
  EXPECT_EQ(trace.requests[0].arrival, 0);
  EXPECT_DOUBLE_EQ(trace.requests[1].arrival, 4.314579);
  EXPECT_EQ(trace.requests[1].context, 396);
  EXPECT_EQ(trace.requests[1].generated, 109);
  EXPECT_DOUBLE_EQ(trace.requests[2].arrival, 20653.31941);
  const Trace with_zone = parse_trace(
      "TIMESTAMP,ContextTokens,GeneratedTokens\n"
      "2024-05-10 00:00:00.009930+00:00,2162,5\n"
      "2024-05-10T02:00:01Z,1,1\n"
      "2024-05-10 01:00:00.009930+02:00,7,8\n",
      "t.csv");
  EXPECT_EQ(with_zone.requests[0].context, 7);  // the earliest
  EXPECT_EQ(with_zone.requests[0].arrival, 0);
  EXPECT_EQ(with_zone.requests[1].arrival, 3600);
  EXPECT_DOUBLE_EQ(with_zone.requests[2].arrival, 3 * 3600 + 0.99007);
  EXPECT_EQ(with_zone.out_of_order, 1u);
}

TEST(Trace, RejectsBadTimestamps) {
  for (const char* time : {"", "x", "12.5", "2023-11-16", "2023-11-16 18:15", "2023-13-16 18:15:46",
                           "2023-02-29 18:15:46", "2023-11-16 24:15:46", "2023-11-16 18:60:46",
                           "2023-11-16 18:15:61", "2023-11-16 18:15:46.", "2023-11-16 18:15:46.5x",
                           "2023-11-16 18:15:46 ", "1969-11-16 18:15:46", "2023-11-16 18:15:46+2",
                           "2023/11/16 18:15:46", "23-11-16 18:15:46", "nan"}) {
    const std::string text = std::string("TIMESTAMP,ContextTokens,GeneratedTokens\n") +
                             "2023-11-16 18:15:46,1,2\n\"" + time + "\",1,2\n";
    EXPECT_THAT(complaint(text), AllOf(HasSubstr("t.csv: line 3: given TIMESTAMP "),
                                       HasSubstr("wanted a time like 2023-11-16 18:15:46.6805900")))
        << time;
  }
  EXPECT_THAT(complaint("TIMESTAMP,ContextTokens\n"), HasSubstr("without GeneratedTokens"));
}

TEST(Trace, ReadsMooncakesJsonLines) {
  const Trace trace = parse_trace(
      "\xef\xbb\xbf{\"timestamp\": 27482, \"input_length\": 6955, \"output_length\": 52, "
      "\"hash_ids\": [46, 47, 2353]}\r\n\n"
      "  {\"output_length\":3,\"input_length\":0,\"timestamp\":1500.5}  \n"
      "{\"timestamp\": 30000, \"input_length\": 1, \"output_length\": 2}",
      "t.jsonl");
  ASSERT_EQ(trace.requests.size(), 3u);
  EXPECT_EQ(trace.requests[0].arrival, 1.5005);
  EXPECT_EQ(trace.requests[0].generated, 3);
  EXPECT_EQ(trace.requests[1].arrival, 27.482);
  EXPECT_EQ(trace.requests[1].context, 6955);
  EXPECT_EQ(trace.requests[1].generated, 52);
  EXPECT_EQ(trace.out_of_order, 1u);
}

TEST(Trace, RejectsBadJsonLines) {
  const std::string good = "{\"timestamp\": 0, \"input_length\": 1, \"output_length\": 2}\n";
  const auto line = [](const std::string& time, const std::string& input,
                       const std::string& output) {
    return "{\"timestamp\": " + time + ", \"input_length\": " + input +
           ", \"output_length\": " + output + "}\n";
  };
  for (const std::string& bad :
       {std::string("{\n"),
        std::string("x\n"),
        std::string("[1, 2, 3]\n"),
        std::string("5\n"),
        std::string("{\"timestamp\": 1}\n"),
        good.substr(0, good.size() - 2) + "\n",
        good.substr(0, good.size() - 1) + good,
        line("-1", "1", "2"),
        line("\"1\"", "1", "2"),
        line("null", "1", "2"),
        line("1e999", "1", "2"),
        line("NaN", "1", "2"),
        line("0", "-1", "2"),
        line("0", "1.5", "2"),
        line("0", "1", "\"2\""),
        line("0", "1", "true"),
        line("0", "2147483648", "0"),
        line("0", "2147483647", "1"),
        line("0", "99999999999999999999", "1"),
        line("[1]", "1", "1"),
        line("0", "{}", "1"),
        line(std::string(100'000, '['), "1", "1"),
        line(std::string(100'000, '[') + std::string(100'000, ']'), "1", "1")}) {
    EXPECT_THAT(complaint(good + "\n" + bad), AllOf(HasSubstr("t.csv: line 3: given "),
                                                    HasSubstr(", wanted "), Not(HasSubstr("\n"))))
        << bad.substr(0, 100);
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

// A valid file with some bytes replaced, removed or inserted, or random bytes. The result is a
// valid trace, or an error of one line.
std::string damaged(support::Random& random) {
  std::string text = header;
  for (std::int64_t line = random.between(0, 5); line > 0; --line)
    text += std::to_string(random.between(0, 9)) + "," + std::to_string(random.between(0, 999)) +
            "," + std::to_string(random.between(0, 99)) + "\n";
  if (random.chance(0.3))
    text.assign(static_cast<std::size_t>(random.between(0, 200)), ' ');
  if (random.chance(0.3))
    text = "TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:15:46.6805900,3,4\n";
  else if (random.chance(0.4))
    text = "{\"timestamp\": 3, \"input_length\": 4, \"output_length\": 5}\n";
  constexpr std::string_view likely = ",,\n\r0123456789-+.eEnaif \"\"[]{}:";
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
