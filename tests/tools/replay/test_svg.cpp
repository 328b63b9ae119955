#include "tools/replay/svg.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <string>
#include <string_view>
#include <vector>

#include "support/random.h"

namespace flashmla::tools {
namespace {

// What is wrong with a document; empty where it is well-formed XML of elements, quoted attributes
// and text. Drawings use no more of XML than that.
std::string malformed(std::string_view document) {
  std::vector<std::string> open;
  bool rooted = false;
  while (!document.empty()) {
    const std::size_t tag = std::min(document.find('<'), document.size());
    const std::string_view text = document.substr(0, tag);
    if (open.empty() && text.find_first_not_of(" \n") != std::string_view::npos)
      return "text outside of the root";
    for (std::size_t at = text.find('&'); at != std::string_view::npos;
         at = text.find('&', at + 1)) {
      const std::string_view entity = text.substr(at);
      if (!entity.starts_with("&amp;") && !entity.starts_with("&lt;") &&
          !entity.starts_with("&gt;") && !entity.starts_with("&quot;"))
        return "a bare ampersand";
    }
    document.remove_prefix(tag);
    if (document.empty())
      break;
    const std::size_t end = document.find('>');
    if (end == std::string_view::npos)
      return "an open tag";
    std::string_view inside = document.substr(1, end - 1);
    document.remove_prefix(end + 1);
    if (inside.starts_with('/')) {
      if (open.empty() || open.back() != inside.substr(1))
        return "a closing tag without its opening";
      open.pop_back();
      continue;
    }
    if (open.empty() && rooted)
      return "two roots";
    rooted = true;
    if (std::count(inside.begin(), inside.end(), '"') % 2 != 0)
      return "an odd quote";
    if (!inside.ends_with('/'))
      open.emplace_back(inside.substr(0, inside.find(' ')));
  }
  return open.empty() && rooted ? "" : "an element without its end";
}

std::vector<StepRecord> random_steps(support::Random& random, std::int64_t count) {
  std::vector<StepRecord> steps;
  double clock = random.unit() * 100;
  for (std::int64_t i = 0; i < count; ++i) {
    clock += random.chance(0.01) ? random.unit() * 30 : 0.03;
    steps.push_back({.clock = clock,
                     .batch = random.between(1, 32),
                     .cached_tokens = random.between(1, 100000),
                     .queued = 0,
                     .pages = 1,
                     .latency = random.unit() * 0.02});
  }
  return steps;
}

TEST(Svg, IsWellFormedForAnySteps) {
  const std::uint64_t seed = support::fresh_seed();
  for (const std::int64_t count : {0, 1, 2, 10, 5000}) {
    SCOPED_TRACE(::testing::Message() << "seed " << seed << ", steps " << count);
    support::Random random(seed);
    const std::string svg =
        draw_svg({.title = "<&\">\x01\xff", .subtitle = "a < b & c", .step_seconds = 0.03},
                 random_steps(random, count));
    EXPECT_EQ(malformed(svg), "");
    EXPECT_THAT(svg, ::testing::StartsWith("<svg xmlns=\"http://www.w3.org/2000/svg\""));
    EXPECT_THAT(svg, ::testing::HasSubstr("&lt;&amp;&quot;&gt;??"));
    EXPECT_THAT(svg, ::testing::Not(::testing::HasSubstr("nan")));
    EXPECT_THAT(svg, ::testing::Not(::testing::HasSubstr("inf")));
    EXPECT_LT(svg.size(), 40'000u) << "curves are thinned";
  }
}

TEST(Svg, HasAPanelForEachQuantity) {
  support::Random random(support::fresh_seed());
  const std::string svg = draw_svg({.title = "t", .subtitle = "s"}, random_steps(random, 100));
  for (const char* title : {"Batch size (requests)", "Cached tokens", "Decode step latency (ms)",
                            "virtual clock", "p50", "p99"})
    EXPECT_THAT(svg, ::testing::HasSubstr(title));
}

TEST(Svg, CheckSeesMalformedDocuments) {
  for (const char* document : {"", "<svg>", "<svg></b>", "<svg a=\"></svg>", "<svg>&</svg>",
                               "<svg/><svg/>", "text", "<svg"})
    EXPECT_NE(malformed(document), "") << document;
}

TEST(ThinOut, KeepsPeaksOrderAndTheLimit) {
  const std::uint64_t seed = support::fresh_seed();
  SCOPED_TRACE(::testing::Message() << "seed " << seed);
  support::Random random(seed);
  std::vector<Point> points;
  for (int i = 0; i < 20000; ++i)
    points.push_back({i * 0.1, random.unit()});
  const auto highest = static_cast<std::size_t>(random.between(0, 19999));
  const std::size_t lowest = (highest + 7000) % points.size();
  points[highest].y = 50;
  points[lowest].y = -50;
  const auto kept = thin_out(points, 1500);
  EXPECT_LE(kept.size(), 1500u);
  EXPECT_GT(kept.size(), 1000u);
  double x = -1;
  bool high = false;
  bool low = false;
  for (const Point& point : kept) {
    EXPECT_GT(point.x, x);
    x = point.x;
    high = high || (point.y == 50 && point.x == points[highest].x);
    low = low || (point.y == -50 && point.x == points[lowest].x);
  }
  EXPECT_TRUE(high);
  EXPECT_TRUE(low);
  EXPECT_EQ(thin_out({points.data(), 1500}, 1500).size(), 1500u) << "few points stay";
}

TEST(TickDistance, IsRoundAndGivesAFewTicks) {
  support::Random random(support::fresh_seed());
  for (int i = 0; i < 2000; ++i) {
    const double largest = std::pow(10, random.unit() * 20 - 8);
    SCOPED_TRACE(largest);
    const double distance = tick_distance(largest);
    EXPECT_LE(distance * 3, largest * (1 + 1e-9));
    EXPECT_GE(distance * 7.5, largest * (1 - 1e-9));
    const double mantissa = distance / std::pow(10, std::floor(std::log10(distance * 1.0001)));
    EXPECT_TRUE(std::abs(mantissa - 1) < 1e-6 || std::abs(mantissa - 2) < 1e-6 ||
                std::abs(mantissa - 5) < 1e-6)
        << mantissa;
  }
}

}  // namespace
}  // namespace flashmla::tools
