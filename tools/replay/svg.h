// A picture of a replay: batch size, cached tokens and step latency over time.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "tools/replay/replay.h"

namespace flashmla::tools {

struct Picture {
  std::string title;
  std::string subtitle;
  double step_seconds = 0.03;  // how long a step lasts on the virtual clock
};

// A complete SVG document, of any number of steps, 0 included. A curve has at most 900 points.
std::string draw_svg(const Picture& picture, std::span<const StepRecord> steps);

// Text as it may stand in XML content and attributes. Control characters, which XML cannot hold,
// and bytes that are no ASCII become question marks.
std::string escape_xml(std::string_view text);

struct Point {
  double x = 0;
  double y = 0;
};

// Keeps at most `limit` of the points, which are ordered by x ≥ 0. It divides them into limit / 2
// equal columns and keeps the lowest and the highest point of each, so that peaks survive.
std::vector<Point> thin_out(std::span<const Point> points, std::size_t limit);

// A distance of axis ticks, 1, 2 or 5 times a power of ten, that puts 4 … 8 of them from 0 to
// `largest` > 0, the one at 0 included.
double tick_distance(double largest);

}  // namespace flashmla::tools
