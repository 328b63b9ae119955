#include "tools/replay/svg.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <iterator>

#include "tools/replay/grouped_number.h"
#include "tools/replay/statistics.h"

namespace flashmla::tools {

namespace {

constexpr std::size_t max_points = 900;

// The size of the page and its parts, in pixels.
constexpr double width = 1000;
constexpr double height = 790;
constexpr double left = 84;
constexpr double right = 972;
constexpr double first_panel = 112;
constexpr double panel_height = 170;
constexpr double panel_distance = 220;

constexpr std::string_view ink = "#1f2933";
constexpr std::string_view faint_ink = "#66727f";
constexpr std::string_view grid = "#e3e7eb";

struct Panel {
  std::string_view title;
  std::string_view color;
  double top;
  double bottom;
  double largest_x;
  double largest_y;

  double x(double value) const { return left + (right - left) * value / largest_x; }
  double y(double value) const { return bottom - (bottom - top) * value / largest_y; }
};

using Out = std::back_insert_iterator<std::string>;

void draw_text(std::string& svg, double x, double y, std::string_view style,
               std::string_view text) {
  fmt::format_to(Out(svg), "<text x=\"{:.1f}\" y=\"{:.1f}\" {}>{}</text>\n", x, y, style,
                 escape_xml(text));
}

// "12,500", "0.25", "1e+12".
std::string tick_label(double value) {
  const bool large_integer = value >= 1000 && value < 1e12;
  return large_integer ? grouped(std::llround(value)) : fmt::format("{:.6g}", value);
}

void draw_axes(std::string& svg, const Panel& panel, bool label_x) {
  const double distance_y = tick_distance(panel.largest_y);
  for (int i = 0; i * distance_y <= panel.largest_y * (1 + 1e-9); ++i) {
    const double y = panel.y(i * distance_y);
    fmt::format_to(Out(svg), "<path d=\"M{:.1f} {:.1f}H{:.1f}\" stroke=\"{}\"/>\n", left, y, right,
                   i == 0 ? faint_ink : grid);
    draw_text(svg, left - 9, y + 4, "class=\"tick\" text-anchor=\"end\"",
              tick_label(i * distance_y));
  }
  const double distance_x = tick_distance(panel.largest_x);
  for (int i = 0; i * distance_x <= panel.largest_x * (1 + 1e-9); ++i) {
    const double x = panel.x(i * distance_x);
    fmt::format_to(Out(svg), "<path d=\"M{:.1f} {:.1f}v5\" stroke=\"{}\"/>\n", x, panel.bottom,
                   faint_ink);
    if (label_x)
      draw_text(svg, x, panel.bottom + 20, "class=\"tick\" text-anchor=\"middle\"",
                tick_label(i * distance_x));
  }
  draw_text(svg, left, panel.top - 12, "class=\"panel\"", panel.title);
}

// A place on the page in tenths of a pixel, the unit of the paths below.
struct Spot {
  long long x;
  long long y;
};

std::vector<Spot> spots_of(const Panel& panel, std::span<const Point> points) {
  std::vector<Spot> spots;
  for (const Point& point : thin_out(points, max_points))
    spots.push_back({std::llround(10 * panel.x(point.x)), std::llround(10 * panel.y(point.y))});
  return spots;
}

// Of each stretch of one height its two ends alone, which draw the same line.
std::vector<Spot> without_inner_spots(const std::vector<Spot>& spots) {
  std::vector<Spot> kept;
  for (const Spot& spot : spots) {
    const std::size_t count = kept.size();
    if (count >= 2 && kept[count - 1].y == spot.y && kept[count - 2].y == spot.y)
      kept.back() = spot;
    else
      kept.push_back(spot);
  }
  return kept;
}

// The spots as steps from one to the next, which take half the bytes that their places would take.
void draw_steps(std::string& svg, Spot from, std::span<const Spot> spots, char command,
                std::string_view after) {
  for (const Spot& spot : spots) {
    fmt::format_to(Out(svg), "{}{} {}{}", command, spot.x - from.x, spot.y - from.y, after);
    from = spot;
  }
}

// The area under a curve that is zero while no request runs.
void draw_area(std::string& svg, const Panel& panel, std::span<const Point> points) {
  if (points.empty())
    return;
  const std::vector<Spot> spots = without_inner_spots(spots_of(panel, points));
  const Spot first = spots.front();
  const long long bottom = std::llround(10 * panel.bottom);
  fmt::format_to(Out(svg), "<path transform=\"scale(.1)\" d=\"M{} {}V{}", first.x, bottom, first.y);
  draw_steps(svg, first, std::span(spots).subspan(1), 'l', "");
  fmt::format_to(Out(svg),
                 "V{}\" fill=\"{}\" fill-opacity=\"0.16\" stroke=\"{}\" stroke-width=\"13\" "
                 "stroke-linejoin=\"round\"/>\n",
                 bottom, panel.color, panel.color);
}

void draw_dots(std::string& svg, const Panel& panel, std::span<const Point> points) {
  if (points.empty())
    return;
  svg += "<path transform=\"scale(.1)\" d=\"";
  draw_steps(svg, {0, 0}, spots_of(panel, points), 'm', "h0");
  fmt::format_to(Out(svg),
                 "\" stroke=\"{}\" stroke-width=\"26\" stroke-opacity=\"0.55\" "
                 "stroke-linecap=\"round\"/>\n",
                 panel.color);
}

void draw_level(std::string& svg, const Panel& panel, double value, std::string_view name) {
  fmt::format_to(Out(svg),
                 "<path d=\"M{:.1f} {:.1f}H{:.1f}\" stroke=\"{}\" stroke-dasharray=\"5 4\"/>\n",
                 left, panel.y(value), right, ink);
  draw_text(svg, left + 6, panel.y(value) - 5, "class=\"level\"",
            fmt::format("{} {:.3g} ms", name, value));
}

template <class Value>
std::vector<Point> curve(std::span<const StepRecord> steps, double step_seconds, bool idle_is_zero,
                         const Value& value) {
  std::vector<Point> points;
  for (std::size_t i = 0; i < steps.size(); ++i) {
    const double x = steps[i].clock - steps[0].clock;
    const double end = x + step_seconds;
    points.push_back({x, value(steps[i])});
    if (!idle_is_zero)
      continue;
    const bool last = i + 1 == steps.size();
    const double next = last ? end : steps[i + 1].clock - steps[0].clock;
    if (last || next > end + step_seconds / 2) {
      points.push_back({end, value(steps[i])});
      points.push_back({end, 0});
      points.push_back({next, 0});
    }
  }
  return points;
}

Panel panel_at(int index, std::string_view title, std::string_view color, double largest_x,
               std::span<const Point> points) {
  const double top = first_panel + index * panel_distance;
  double largest_y = 0;
  for (const Point& point : points)
    largest_y = std::max(largest_y, point.y);
  return {title, color, top, top + panel_height, largest_x, largest_y > 0 ? largest_y * 1.05 : 1};
}

void draw_frame(std::string& svg, const Picture& picture) {
  fmt::format_to(Out(svg),
                 "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {0} {1}\" width=\"{0}\" "
                 "height=\"{1}\" font-family=\"Helvetica, Arial, sans-serif\">\n"
                 "<style>.title{{font-size:20px;font-weight:bold;fill:{2}}}"
                 ".panel{{font-size:14px;font-weight:bold;fill:{2}}}"
                 ".tick,.subtitle{{font-size:12px;fill:{3}}}.level{{font-size:12px;fill:{2};"
                 "stroke:white;stroke-width:4px;paint-order:stroke}}"
                 "</style>\n<rect width=\"{0}\" height=\"{1}\" fill=\"white\"/>\n",
                 width, height, ink, faint_ink);
  draw_text(svg, left, 38, "class=\"title\"", picture.title);
  draw_text(svg, left, 60, "class=\"subtitle\"", picture.subtitle);
  draw_text(svg, (left + right) / 2, height - 24, "class=\"tick\" text-anchor=\"middle\"",
            "time on the virtual clock since the first step (s)");
}

}  // namespace

std::string escape_xml(std::string_view text) {
  std::string escaped;
  for (const char c : text) {
    if (c == '&')
      escaped += "&amp;";
    else if (c == '<')
      escaped += "&lt;";
    else if (c == '>')
      escaped += "&gt;";
    else if (c == '"')
      escaped += "&quot;";
    else if (c >= ' ' && c <= '~')
      escaped += c;
    else
      escaped += '?';
  }
  return escaped;
}

std::vector<Point> thin_out(std::span<const Point> points, std::size_t limit) {
  if (points.size() <= limit)
    return {points.begin(), points.end()};
  const std::size_t columns = limit / 2;
  const double end = points.back().x;
  const auto column_of = [&](const Point& point) {
    return end > 0
               ? std::min(columns - 1,
                          static_cast<std::size_t>(point.x / end * static_cast<double>(columns)))
               : 0;
  };
  std::vector<Point> kept;
  for (std::size_t first = 0; first < points.size();) {
    std::size_t lowest = first;
    std::size_t highest = first;
    std::size_t next = first;
    for (; next < points.size() && column_of(points[next]) == column_of(points[first]); ++next) {
      lowest = points[next].y < points[lowest].y ? next : lowest;
      highest = points[next].y > points[highest].y ? next : highest;
    }
    kept.push_back(points[std::min(lowest, highest)]);
    if (lowest != highest)
      kept.push_back(points[std::max(lowest, highest)]);
    first = next;
  }
  return kept;
}

double tick_distance(double largest) {
  const double power = std::pow(10, std::floor(std::log10(largest / 3)));
  for (const double factor : {5.0, 2.0})
    if (factor * power <= largest / 3)
      return factor * power;
  return power;
}

std::string draw_svg(const Picture& picture, std::span<const StepRecord> steps) {
  const double duration =
      steps.empty() ? 1 : steps.back().clock - steps.front().clock + picture.step_seconds;
  const auto batch = curve(steps, picture.step_seconds, true,
                           [](const StepRecord& step) { return static_cast<double>(step.batch); });
  const auto tokens = curve(steps, picture.step_seconds, true, [](const StepRecord& step) {
    return static_cast<double>(step.cached_tokens);
  });
  const auto latency = curve(steps, picture.step_seconds, false,
                             [](const StepRecord& step) { return step.latency * 1e3; });
  std::string svg;
  draw_frame(svg, picture);
  Panel panel = panel_at(0, "Batch size (requests)", "#2563a8", duration, batch);
  draw_axes(svg, panel, false);
  draw_area(svg, panel, batch);
  panel = panel_at(1, "Cached tokens of the running requests", "#1b7f5c", duration, tokens);
  draw_axes(svg, panel, false);
  draw_area(svg, panel, tokens);
  panel = panel_at(2, "Decode step latency (ms)", "#c2571a", duration, latency);
  draw_axes(svg, panel, true);
  draw_dots(svg, panel, latency);
  if (!latency.empty()) {
    const Latency summary = latency_of(steps);
    draw_level(svg, panel, summary.p50 * 1e3, "p50");
    draw_level(svg, panel, summary.p99 * 1e3, "p99");
  }
  return svg + "</svg>\n";
}

}  // namespace flashmla::tools
