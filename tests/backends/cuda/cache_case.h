// A cache with rows and slots, drawn in the same way in the memory of the CPU and of a GPU.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <span>
#include <string>
#include <vector>

#include "flashmla/kv_cache.h"
#include "support/memory.h"
#include "support/numeric.h"
#include "support/random.h"

namespace flashmla::backends::cuda {

struct CacheCase {
  KvFormat format = KvFormat::v32;
  std::int64_t pages = 5;
  std::int64_t page_size = 64;
  std::int64_t heads = 1;
  std::int64_t columns = 576;  // of the plain formats
  std::int64_t page_gap = 0;   // elements of the cache between pages, and in front of it
  std::int64_t row_gap = 0;    // elements between rows, and in front of them
  std::int64_t rows = 0;       // of append and gather; 0: two thirds of the cache
  DType slot_type = DType::i64;
  bool any_scale = false;  // scales in the cache may be infinite or NaN
  std::uint64_t seed = support::fresh_seed();

  std::int64_t d_qk() const { return is_plain(format) ? columns : format_qk_dim(format); }
  std::int64_t capacity() const { return pages * page_size; }
  std::int64_t row_count() const { return rows > 0 ? rows : capacity() * 2 / 3 + 1; }
  std::int64_t row_stride() const { return heads * d_qk() + row_gap; }
  std::int64_t token_stride() const { return heads * token_elements(format, columns); }
  std::int64_t page_stride() const { return page_size * token_stride() + page_gap; }
  std::int64_t element() const { return static_cast<std::int64_t>(size_of(cache_dtype(format))); }

  std::string text() const {
    return std::string(name_of(format)) + ", " + std::to_string(pages) + " pages of " +
           std::to_string(page_size) + ", heads " + std::to_string(heads) + ", columns " +
           std::to_string(d_qk()) + ", gaps " + std::to_string(page_gap) + " and " +
           std::to_string(row_gap) + ", rows " + std::to_string(row_count()) + ", seed " +
           std::to_string(seed);
  }
};

// Bits of an fp32 scale: zeros, subnormal and negative numbers, powers of two, any numbers.
inline std::uint32_t drawn_scale(support::Random& random, bool any) {
  const auto bits = static_cast<std::uint32_t>(random.next());
  constexpr std::uint32_t infinity = 0x7f800000;
  switch (random.between(0, 5)) {
    case 0:
      return bits & 0x80000000u;
    case 1:
      return bits & 0x807fffffu;
    case 2:
      return (bits & 0x80000000u) | static_cast<std::uint32_t>(random.between(107, 147)) << 23;
    case 3:
      return any ? bits | infinity : std::bit_cast<std::uint32_t>(1.0f);
    default:
      return (bits & infinity) == infinity ? bits ^ 0x40000000u : bits;
  }
}

// bf16 in groups of 16: numbers around a mean, of a size that differs from group to group, zeros,
// or any bits.
inline void draw_elements(std::span<std::uint16_t> elements, support::Random& random) {
  for (std::size_t first = 0; first < elements.size(); first += 16) {
    const auto group = elements.subspan(first, std::min<std::size_t>(16, elements.size() - first));
    const std::int64_t kind = random.between(0, 19);
    const double size = std::ldexp(1.0, static_cast<int>(random.between(-20, 20)));
    for (std::uint16_t& element : group)
      element = kind == 0 ? static_cast<std::uint16_t>(random.next())
                : kind == 1
                    ? std::uint16_t{0}
                    : support::float_to_bf16(static_cast<float>((random.unit() * 4 - 1.5) * size));
  }
}

// The tensors of a case in one memory.
class CacheTensors {
 public:
  CacheTensors(const CacheCase& c, support::Memory& memory)
      : case_(c),
        device_(memory.device()),
        cache_(memory,
               static_cast<std::size_t>((c.page_gap + c.pages * c.page_stride()) * c.element())),
        rows_(memory,
              static_cast<std::size_t>(
                  2 * (c.row_gap + std::max(c.capacity(), c.row_count()) * c.row_stride()))),
        slots_(memory, static_cast<std::size_t>(c.row_count()) * size_of(c.slot_type)) {
    support::Random random(c.seed);
    draw_cache(random);
    draw_elements(rows_.image_as<std::uint16_t>(), random);
    draw_slots(random);
    for (support::GuardedBuffer* buffer : buffers())
      buffer->upload();
  }

  TensorView cache() const {
    return {
        cache_.data() + case_.page_gap * case_.element(),
        cache_dtype(case_.format),
        {case_.pages, case_.page_size, case_.heads, token_elements(case_.format, case_.columns)},
        {case_.page_stride(), case_.token_stride(), token_elements(case_.format, case_.columns), 1},
        device_};
  }
  TensorView plain() const {
    return {first_row(),
            row_type(),
            {case_.pages, case_.page_size, case_.heads, case_.d_qk()},
            {case_.page_size * case_.row_stride(), case_.row_stride(), case_.d_qk(), 1},
            device_};
  }
  TensorView rows() const {
    return {first_row(),
            row_type(),
            {case_.row_count(), case_.heads, case_.d_qk()},
            {case_.row_stride(), case_.d_qk(), 1},
            device_};
  }
  TensorView slots() const {
    return {slots_.data(), case_.slot_type, {case_.row_count()}, device_};
  }

  std::vector<support::GuardedBuffer*> buffers() { return {&cache_, &rows_, &slots_}; }
  support::GuardedBuffer& row_buffer() { return rows_; }
  support::GuardedBuffer& slot_buffer() { return slots_; }

  // Slots of the cache, some of them more than once, and slots outside it.
  void draw_slots(support::Random& random) {
    const std::int64_t narrow = std::numeric_limits<std::int32_t>::max();
    for (std::int64_t i = 0; i < case_.row_count(); ++i) {
      std::int64_t slot = random.between(0, std::max<std::int64_t>(case_.capacity() - 1, 0));
      if (random.chance(0.2))
        slot = random.pick({std::int64_t{-1}, case_.capacity(), narrow, -narrow - 1});
      if (case_.slot_type == DType::i64)
        slots_.image_as<std::int64_t>()[i] = random.chance(0.02) ? slot + (1LL << 32) : slot;
      else
        slots_.image_as<std::int32_t>()[i] = static_cast<std::int32_t>(slot);
    }
  }

 private:
  std::byte* first_row() const { return rows_.data() + 2 * case_.row_gap; }
  DType row_type() const { return case_.format == KvFormat::fp16 ? DType::fp16 : DType::bf16; }

  // Any bytes, but for the scales.
  void draw_cache(support::Random& random) {
    for (std::byte& byte : cache_.image())
      byte = static_cast<std::byte>(random.next());
    if (is_plain(case_.format))
      return;
    for (std::int64_t slot = 0; slot < case_.capacity(); ++slot)
      draw_scales(random, slot / case_.page_size, slot % case_.page_size);
  }

  void draw_scales(support::Random& random, std::int64_t page, std::int64_t token) {
    std::byte* const start = cache_.image().data() + case_.page_gap + page * case_.page_stride();
    if (case_.format == KvFormat::v4) {
      std::byte* const scales = start + V4Layout::scales_of(token, case_.page_size);
      for (std::int64_t tile = 0; tile < V4Layout::tiles; ++tile)
        if (scales[tile] == std::byte{255} && !case_.any_scale)
          scales[tile] = std::byte{0};
      return;
    }
    for (std::int64_t tile = 0; tile < V32Layout::tiles; ++tile) {
      const std::uint32_t bits = drawn_scale(random, case_.any_scale);
      std::memcpy(start + V32Layout::scales_of(token, 0) + 4 * tile, &bits, 4);
    }
  }

  CacheCase case_;
  Device device_;
  support::GuardedBuffer cache_;
  support::GuardedBuffer rows_;
  support::GuardedBuffer slots_;
};

// The four functions, each with the tensors that it takes.
struct CacheCall {
  const char* name;
  void (*run)(const CacheTensors& tensors, KvFormat format, void* stream);
};

inline constexpr CacheCall cache_calls[] = {
    {"append", [](const CacheTensors& t, KvFormat format,
                  void* stream) { append(t.cache(), format, t.rows(), t.slots(), stream); }},
    {"gather", [](const CacheTensors& t, KvFormat format,
                  void* stream) { gather(t.cache(), format, t.slots(), t.rows(), stream); }},
    {"quantise", [](const CacheTensors& t, KvFormat format,
                    void* stream) { quantise(t.plain(), t.cache(), format, stream); }},
    {"dequantise", [](const CacheTensors& t, KvFormat format,
                      void* stream) { dequantise(t.cache(), format, t.plain(), stream); }},
};

// Where two sequences of bytes differ first.
inline std::string first_difference(const std::vector<std::byte>& a,
                                    const std::vector<std::byte>& b) {
  const auto at = std::mismatch(a.begin(), a.end(), b.begin(), b.end());
  return at.first == a.end() ? "nowhere" : "at byte " + std::to_string(at.first - a.begin());
}

}  // namespace flashmla::backends::cuda
