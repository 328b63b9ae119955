// The lists of the tensors of a sparse case.
#include <algorithm>
#include <iterator>
#include <limits>
#include <span>
#include <utility>
#include <vector>

#include "support/parallel.h"
#include "support/random.h"
#include "support/sparse_generate.h"

namespace flashmla::support {

namespace {

// Keeps the keys of lists apart from those of other tensors.
constexpr int list_stream = 10;

constexpr std::int32_t least = std::numeric_limits<std::int32_t>::min();
constexpr std::int32_t most = std::numeric_limits<std::int32_t>::max();

// Which entries of a list may name a token.
std::vector<bool> draw_valid(const SparseCase& c, std::int64_t topk, Random& random) {
  std::vector<bool> valid(static_cast<std::size_t>(topk), c.holes == Holes::scattered);
  if (c.holes == Holes::scattered && c.invalid_share > 0)
    for (auto&& entry : valid)
      entry = !random.chance(c.invalid_share);
  if (c.holes == Holes::tail)
    std::fill_n(valid.begin(), random.between(1, std::max<std::int64_t>(1, topk / 4)), true);
  if (c.holes != Holes::runs)
    return valid;
  bool hole = random.chance(0.5);
  for (std::int64_t i = 0; i < topk; hole = !hole) {
    const std::int64_t end =
        std::min(topk, i + (hole ? random.between(64, 320) : random.between(1, 100)));
    for (; i < end; ++i)
      valid[static_cast<std::size_t>(i)] = !hole || random.chance(0.005);
  }
  return valid;
}

// The slots that the entries of a list name, one by one.
class SlotDraw {
 public:
  SlotDraw(const std::vector<std::int32_t>& live, bool distinct, Random& random)
      : live_(live), random_(random) {
    if (distinct)
      shuffled_ = live;
  }

  std::int32_t next() {
    if (shuffled_.empty())
      return random_.pick(std::span(live_));
    const std::int64_t at = drawn_++ % std::ssize(shuffled_);
    std::int32_t& slot = shuffled_[static_cast<std::size_t>(at)];
    std::swap(slot,
              shuffled_[static_cast<std::size_t>(random_.between(at, std::ssize(shuffled_) - 1))]);
    return slot;
  }

 private:
  const std::vector<std::int32_t>& live_;
  Random& random_;
  std::vector<std::int32_t> shuffled_;  // the first ones have been drawn; empty: with repetition
  std::int64_t drawn_ = 0;
};

}  // namespace

std::vector<std::int32_t> SparseTensors::counted_slots(IndexedCache& part, bool with_lengths,
                                                       std::int64_t request,
                                                       std::int64_t query_token) {
  const std::int32_t* list = part.indices.buffer.image_as<std::int32_t>().data() +
                             offset_of(part.indices.view, {request, query_token, 0});
  std::int64_t entries = part.topk;
  if (with_lengths)
    entries = std::clamp<std::int64_t>(
        part.lengths.buffer.image_as<std::int32_t>()[sparse_case.prefill() ? query_token : request],
        0, part.topk);
  std::vector<std::int32_t> slots;
  std::copy_if(list, list + entries, std::back_inserter(slots),
               [&](std::int32_t slot) { return slot >= 0 && slot < part.capacity(); });
  return slots;
}

std::int64_t SparseTensors::different_tokens(std::int64_t request, std::int64_t query_token) {
  const auto count = [&](IndexedCache& part, bool with_lengths) {
    std::vector<std::int32_t> slots = counted_slots(part, with_lengths, request, query_token);
    std::ranges::sort(slots);
    return std::unique(slots.begin(), slots.end()) - slots.begin();
  };
  return count(main, sparse_case.topk_length) +
         (sparse_case.extra_topk > 0 ? count(extra, sparse_case.extra_topk_length) : 0);
}

void SparseTensors::fill_lengths(IndexedCache& part, int which) {
  const SparseCase& c = sparse_case;
  Random random(key_of(c.seed, list_stream, which));
  for (std::int32_t& length : part.lengths.buffer.image_as<std::int32_t>()) {
    length = static_cast<std::int32_t>(random.between(1, part.topk));
    if (random.chance(0.1))
      length = random.pick({most, static_cast<std::int32_t>(part.topk) + 1});
    if (c.empty_lists && random.chance(0.3))
      length = random.pick({0, -1, least});
  }
}

void SparseTensors::fill_lists(IndexedCache& part, int which, bool with_lengths) {
  const SparseCase& c = sparse_case;
  fill_lengths(part, which);
  const std::span entries = part.indices.buffer.image_as<std::int32_t>();
  const std::span lengths = part.lengths.buffer.image_as<std::int32_t>();
  const auto capacity = static_cast<std::int32_t>(part.capacity());
  parallel_for(c.batch * c.query_tokens, [&](std::int64_t token) {
    const std::int64_t r = token / c.query_tokens;
    const std::int64_t t = token % c.query_tokens;
    Random random(key_of(c.seed, list_stream, which, token));
    std::int32_t* list = entries.data() + offset_of(part.indices.view, {r, t, 0});
    const std::int64_t counted =
        with_lengths ? std::clamp<std::int64_t>(lengths[c.prefill() ? t : r], 0, part.topk)
                     : part.topk;
    const bool empty = part.live.empty() || (c.empty_lists && random.chance(0.2));
    const std::vector<bool> valid = draw_valid(c, part.topk, random);
    SlotDraw slots(part.live, c.distinct, random);
    for (std::int64_t i = 0; i < part.topk; ++i) {
      const bool live = i < counted && !empty && valid[static_cast<std::size_t>(i)];
      if (i >= counted && random.chance(0.7))
        list[i] =
            static_cast<std::int32_t>(random.between(0, std::max<std::int64_t>(1, capacity) - 1));
      else
        list[i] = live ? slots.next()
                       : random.pick({-1, -1, least, most, capacity, capacity + 7, -capacity - 1});
    }
  });
}

}  // namespace flashmla::support
