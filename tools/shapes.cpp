#include "tools/shapes.h"

#include <fmt/format.h>

#include <array>
#include <limits>
#include <string_view>
#include <utility>
#include <vector>

#include "tools/command.h"
#include "tools/dense_options.h"
#include "tools/option_values.h"
#include "tools/parse_number.h"

namespace flashmla::tools {

namespace {

constexpr std::int64_t max_tokens = std::numeric_limits<std::int32_t>::max();

std::vector<std::string_view> parts_of(std::string_view text, char separator) {
  std::vector<std::string_view> parts;
  for (std::size_t end = text.find(separator); end != std::string_view::npos;
       end = text.find(separator)) {
    parts.push_back(text.substr(0, end));
    text.remove_prefix(end + 1);
  }
  parts.push_back(text);
  return parts;
}

// The number that the text is; 0 where it is no number from 1 to `most`.
std::int64_t size_of(std::string_view text, std::int64_t most) {
  const auto value = parse_number<std::int64_t>(text).value_or(0);
  return value >= 1 && value <= most ? value : 0;
}

// Reads "tokens[+extra_tokens[@extra_page]]". Returns false on any other text.
bool read_tokens(std::string_view text, Shape& shape) {
  constexpr std::int64_t usual_extra_page = 64;
  constexpr std::int64_t max_page = 65536;
  const std::vector<std::string_view> lists = parts_of(text, '+');
  shape.tokens = size_of(lists[0], max_tokens);
  if (shape.tokens == 0 || lists.size() > 2)
    return false;
  if (lists.size() == 1)
    return true;
  const std::vector<std::string_view> extra = parts_of(lists[1], '@');
  shape.extra_tokens = size_of(extra[0], max_tokens);
  shape.extra_page = extra.size() == 2 ? size_of(extra[1], max_page) : usual_extra_page;
  return shape.extra_tokens > 0 && shape.extra_page > 0 && extra.size() <= 2;
}

// Reads what follows the numbers of a shape. Returns false on any other text, and on a flag that
// the shape has.
bool read_flag(std::string_view text, Shape& shape) {
  for (const std::string_view name : {"valid", "scattered"})
    if (text.starts_with(name) && shape.valid == 0) {
      shape.valid = size_of(text.substr(name.size()), shape.tokens);
      shape.scattered = name == "scattered";
      return shape.valid > 0;
    }
  if (text != "varlen" && text != "causal")
    return false;
  bool& flag = text == "varlen" ? shape.varlen : shape.causal;
  return !std::exchange(flag, true);
}

}  // namespace

std::string text_of(const Shape& shape) {
  std::string text =
      fmt::format("{},{},{},{}", shape.batch, shape.query_tokens, shape.query_heads, shape.tokens);
  if (shape.extra_tokens > 0)
    text += fmt::format("+{}@{}", shape.extra_tokens, shape.extra_page);
  if (shape.valid > 0)
    text += fmt::format(",{}{}", shape.scattered ? "scattered" : "valid", shape.valid);
  return text + (shape.varlen ? ",varlen" : "") + (shape.causal ? ",causal" : "");
}

Shape parse_shape(const std::string& text) {
  const BadInput wrong(
      fmt::format("--shape: given {}, wanted b,s_q,h_q,tokens[,varlen][,causal] with numbers from "
                  "1 to {}, {}, {} and {}; sparse: "
                  "b,s_q,h_q,topk[+extra_topk[@extra_page]][,validN|,scatteredN] with N of topk",
                  shown(text), max_requests, max_requests, max_heads, max_tokens));
  const std::vector<std::string_view> parts = parts_of(text, ',');
  if (parts.size() < 4)
    throw wrong;
  Shape shape{.batch = size_of(parts[0], max_requests),
              .query_tokens = size_of(parts[1], max_requests),
              .query_heads = size_of(parts[2], max_heads),
              .tokens = 0};
  if (shape.batch == 0 || shape.query_tokens == 0 || shape.query_heads == 0 ||
      !read_tokens(parts[3], shape))
    throw wrong;
  for (std::size_t i = 4; i < parts.size(); ++i)
    if (!read_flag(parts[i], shape))
      throw wrong;
  return shape;
}

std::span<const Shape> dense_shapes() {
  static constexpr std::array<Shape, 8> shapes{{{1, 1, 16, 8192},
                                                {1, 1, 128, 4096},
                                                {4, 1, 64, 4096},
                                                {16, 1, 16, 2048, true},
                                                {32, 1, 128, 1024, true},
                                                {4, 2, 128, 2048, false, true},
                                                {64, 1, 16, 512, true},
                                                {2, 4, 32, 4096, true, true}}};
  return shapes;
}

std::span<const Shape> gpu_dense_shapes() {
  static constexpr std::array<Shape, 36> shapes{{{128, 1, 128, 4096, true},
                                                 {128, 1, 128, 8192, true},
                                                 {128, 1, 128, 16384, true},
                                                 {128, 1, 128, 32768, true},
                                                 {128, 2, 128, 4096, true},
                                                 {128, 2, 128, 8192, true},
                                                 {128, 2, 128, 16384, true},
                                                 {128, 2, 128, 32768, true},
                                                 {128, 2, 128, 8192, true, true},
                                                 {1, 1, 16, 65536, true},
                                                 {16, 1, 16, 4096, true},
                                                 {64, 1, 16, 4096, true},
                                                 {128, 1, 16, 1024, true},
                                                 {128, 1, 16, 8192, true},
                                                 {128, 1, 16, 32768, true},
                                                 {1, 1, 32, 65536, true},
                                                 {16, 1, 32, 4096, true},
                                                 {64, 1, 32, 4096, true},
                                                 {128, 1, 32, 1024, true},
                                                 {128, 1, 32, 8192, true},
                                                 {128, 1, 32, 32768, true},
                                                 {1, 1, 64, 65536, true},
                                                 {16, 1, 64, 4096, true},
                                                 {64, 1, 64, 4096, true},
                                                 {128, 1, 64, 1024, true},
                                                 {128, 1, 64, 8192, true},
                                                 {128, 1, 64, 32768, true},
                                                 {1, 1, 128, 1024},
                                                 {1, 1, 128, 8192},
                                                 {1, 1, 128, 65536},
                                                 {1, 1, 128, 131072},
                                                 {4, 1, 128, 8192},
                                                 {16, 1, 128, 2048},
                                                 {32, 1, 128, 1024},
                                                 {1, 4, 128, 8192, true, true},
                                                 {16, 4, 128, 8192, true, true}}};
  return shapes;
}

std::span<const Shape> sparse_shapes() {
  static constexpr std::array<Shape, 6> shapes{{{1, 1, 128, 2048},
                                                {4, 1, 64, 2048},
                                                {16, 1, 16, 2048},
                                                {8, 2, 128, 1024},
                                                {32, 1, 128, 512},
                                                {64, 1, 16, 512}}};
  return shapes;
}

std::span<const Shape> prefill_shapes() {
  static constexpr std::array<Shape, 4> shapes{
      {{1, 16, 128, 2048}, {1, 64, 64, 2048}, {1, 256, 16, 1024}, {1, 512, 128, 128}}};
  return shapes;
}

namespace {

// V3.2's lists of 2,048 entries, of which 256 name a slot.
constexpr Shape few_valid(std::int64_t batch, std::int64_t query_heads, bool scattered) {
  return {.batch = batch,
          .query_tokens = 1,
          .query_heads = query_heads,
          .tokens = 2048,
          .valid = 256,
          .scattered = scattered};
}

// V4's lists: 128 entries into the window, the others into the extra cache.
constexpr Shape of_v4(std::int64_t batch, std::int64_t query_tokens, std::int64_t query_heads,
                      std::int64_t extra_tokens, std::int64_t extra_page) {
  return {.batch = batch,
          .query_tokens = query_tokens,
          .query_heads = query_heads,
          .tokens = 128,
          .extra_tokens = extra_tokens,
          .extra_page = extra_page};
}

}  // namespace

std::span<const Shape> gpu_sparse_shapes(KvFormat format) {
  static constexpr std::array<Shape, 34> v32{
      {{1, 1, 8, 2048},          {16, 1, 8, 2048},        {64, 1, 8, 2048},
       {256, 1, 8, 2048},        {1, 1, 16, 2048},        {16, 1, 16, 2048},
       {64, 1, 16, 2048},        {256, 1, 16, 2048},      {1, 1, 32, 2048},
       {16, 1, 32, 2048},        {64, 1, 32, 2048},       {256, 1, 32, 2048},
       {1, 1, 64, 2048},         {16, 1, 64, 2048},       {64, 1, 64, 2048},
       {256, 1, 64, 2048},       {1, 1, 128, 2048},       {2, 1, 128, 2048},
       {8, 1, 128, 2048},        {32, 1, 128, 2048},      {128, 1, 128, 2048},
       {256, 1, 128, 2048},      {1, 2, 128, 2048},       {2, 2, 128, 2048},
       {8, 2, 128, 2048},        {32, 2, 128, 2048},      {64, 2, 128, 2048},
       {74, 2, 128, 2048},       {128, 2, 128, 2048},     {148, 2, 128, 16384},
       few_valid(64, 16, false), few_valid(64, 16, true), few_valid(64, 128, false),
       few_valid(64, 128, true)}};
  static constexpr std::array<Shape, 22> v4{
      {of_v4(1, 1, 8, 512, 64),     of_v4(64, 1, 8, 512, 64),     of_v4(1, 1, 16, 512, 64),
       of_v4(64, 1, 16, 512, 64),   of_v4(1, 1, 32, 512, 64),     of_v4(64, 1, 32, 512, 64),
       of_v4(2, 2, 64, 512, 64),    of_v4(64, 2, 64, 512, 64),    of_v4(128, 2, 64, 512, 64),
       of_v4(256, 2, 64, 512, 64),  of_v4(2, 2, 64, 1024, 2),     of_v4(64, 2, 64, 1024, 2),
       of_v4(128, 2, 64, 1024, 2),  of_v4(256, 2, 64, 1024, 2),   of_v4(2, 2, 128, 1024, 64),
       of_v4(64, 2, 128, 1024, 64), of_v4(128, 2, 128, 1024, 64), of_v4(256, 2, 128, 1024, 64),
       of_v4(2, 2, 128, 1024, 2),   of_v4(64, 2, 128, 1024, 2),   of_v4(128, 2, 128, 1024, 2),
       of_v4(256, 2, 128, 1024, 2)}};
  static constexpr std::array<Shape, 10> plain{{{1, 1, 16, 2048},
                                                {4, 1, 16, 2048},
                                                {16, 1, 16, 2048},
                                                {64, 1, 16, 2048},
                                                {128, 1, 16, 2048},
                                                {1, 1, 128, 2048},
                                                {4, 1, 128, 2048},
                                                {16, 1, 128, 2048},
                                                {64, 1, 128, 2048},
                                                {128, 1, 128, 2048}}};
  if (format == KvFormat::v32)
    return v32;
  return format == KvFormat::v4 ? std::span<const Shape>(v4) : plain;
}

}  // namespace flashmla::tools
