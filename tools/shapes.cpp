#include "tools/shapes.h"

#include <fmt/format.h>

#include <array>
#include <limits>
#include <string_view>
#include <vector>

#include "tools/command.h"
#include "tools/dense_options.h"
#include "tools/option_values.h"
#include "tools/parse_number.h"

namespace flashmla::tools {

namespace {

std::vector<std::string_view> parts_of(std::string_view text) {
  std::vector<std::string_view> parts;
  for (std::size_t comma = text.find(','); comma != std::string_view::npos;
       comma = text.find(',')) {
    parts.push_back(text.substr(0, comma));
    text.remove_prefix(comma + 1);
  }
  parts.push_back(text);
  return parts;
}

// The number that the text is; 0 where it is no number from 1 to `most`.
std::int64_t size_of(std::string_view text, std::int64_t most) {
  const auto value = parse_number<std::int64_t>(text).value_or(0);
  return value >= 1 && value <= most ? value : 0;
}

}  // namespace

std::string text_of(const Shape& shape) {
  return fmt::format("{},{},{},{}{}{}", shape.batch, shape.query_tokens, shape.query_heads,
                     shape.tokens, shape.varlen ? ",varlen" : "", shape.causal ? ",causal" : "");
}

Shape parse_shape(const std::string& text) {
  constexpr std::int64_t max_tokens = std::numeric_limits<std::int32_t>::max();
  const BadInput wrong(
      fmt::format("--shape: given {}, wanted b,s_q,h_q,tokens[,varlen][,causal] with numbers from "
                  "1 to {}, {}, {} and {}",
                  shown(text), max_requests, max_requests, max_heads, max_tokens));
  const std::vector<std::string_view> parts = parts_of(text);
  if (parts.size() < 4)
    throw wrong;
  Shape shape{.batch = size_of(parts[0], max_requests),
              .query_tokens = size_of(parts[1], max_requests),
              .query_heads = size_of(parts[2], max_heads),
              .tokens = size_of(parts[3], max_tokens)};
  if (shape.batch == 0 || shape.query_tokens == 0 || shape.query_heads == 0 || shape.tokens == 0)
    throw wrong;
  for (std::size_t i = 4; i < parts.size(); ++i) {
    bool& flag = parts[i] == "varlen" ? shape.varlen : shape.causal;
    if (flag || (parts[i] != "varlen" && parts[i] != "causal"))
      throw wrong;
    flag = true;
  }
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

}  // namespace flashmla::tools
