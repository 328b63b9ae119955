#include "tools/bench/index_lists.h"

#include <algorithm>
#include <numeric>
#include <span>

#include "support/random.h"

namespace flashmla::tools {

namespace {

std::vector<std::int32_t> count_up(std::int64_t count) {
  std::vector<std::int32_t> numbers(static_cast<std::size_t>(count));
  std::iota(numbers.begin(), numbers.end(), 0);
  return numbers;
}

// Makes the first `count` numbers a random choice of all of them, in random order.
void choose(std::span<std::int32_t> numbers, std::int64_t count, support::Random& random) {
  for (std::int64_t i = 0; i < count; ++i)
    std::swap(numbers[i], numbers[random.between(i, std::ssize(numbers) - 1)]);
}

}  // namespace

IndexLists draw_lists(const ListShape& shape, std::uint64_t seed) {
  support::Random random(seed);
  const std::int64_t slots_of_request = shape.pages_of_request * shape.page_size;
  std::vector<std::int32_t> pages = count_up(shape.batch * shape.pages_of_request);
  choose(pages, std::ssize(pages), random);
  std::vector<std::int32_t> tokens = count_up(slots_of_request);
  std::vector<std::int32_t> places = count_up(shape.topk);
  std::vector<bool> named(static_cast<std::size_t>(shape.batch * slots_of_request));
  IndexLists lists;
  lists.slots.assign(static_cast<std::size_t>(shape.batch * shape.query_tokens * shape.topk), -1);
  for (std::int64_t i = 0; i < shape.batch * shape.query_tokens; ++i) {
    choose(tokens, shape.valid, random);
    if (shape.scattered)
      choose(places, shape.valid, random);
    const std::int64_t first_page = i / shape.query_tokens * shape.pages_of_request;
    for (std::int64_t n = 0; n < shape.valid; ++n) {
      const std::int64_t page = pages[first_page + tokens[n] / shape.page_size];
      const std::int64_t slot = page * shape.page_size + tokens[n] % shape.page_size;
      lists.slots[i * shape.topk + places[n]] = static_cast<std::int32_t>(slot);
      named[slot] = true;
    }
  }
  lists.distinct = std::ranges::count(named, true);
  return lists;
}

}  // namespace flashmla::tools
