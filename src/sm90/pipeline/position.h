// The position of a thread in a ring (ring.h): the slot that it uses next, and the phase of the
// slot's barriers. All phase arithmetic of the kernels is in this file.
//
// A barrier counts arrivals. With the last arrival a phase of the barrier ends and the next one
// begins. Phases have the numbers 0, 1, 0, 1, … A thread that waits names the phase whose end it
// waits for. A new barrier is in phase 0. So a thread waits with phase 0 until a slot is filled for
// the first time, with phase 1 for the second time, then with 0, and so on.
//
// Every thread that uses a ring keeps a position of its own and advances it itself. All threads
// visit the slots in the same order, so their positions agree without an exchange.
//
// There are several kinds of positions. Each kind has slot_in<Slots>() and phase_in<Slots>(), the
// slot and the phase in a ring of `Slots` slots.
#pragma once

#include <cstdint>

#include "sm90/ptx/device.h"

namespace flashmla::sm90::pipeline {

// A position for a thread that visits slot after slot.
template <int Slots>
struct RingPosition {
  int slot = 0;
  std::uint32_t phase = 0;

  FLASHMLA_DEVICE constexpr void advance() {
    if (++slot == Slots) {
      slot = 0;
      phase ^= 1;
    }
  }

  template <int RingSlots>
  FLASHMLA_DEVICE constexpr int slot_in() const {
    static_assert(RingSlots == Slots);
    return slot;
  }
  template <int RingSlots>
  FLASHMLA_DEVICE constexpr std::uint32_t phase_in() const {
    static_assert(RingSlots == Slots);
    return phase;
  }
};

// A position in a ring of one slot.
template <>
struct RingPosition<1> {
  std::uint32_t phase = 0;

  FLASHMLA_DEVICE constexpr void advance() { phase ^= 1; }

  template <int RingSlots>
  FLASHMLA_DEVICE constexpr int slot_in() const {
    static_assert(RingSlots == 1);
    return 0;
  }
  template <int RingSlots>
  FLASHMLA_DEVICE constexpr std::uint32_t phase_in() const {
    return phase;
  }
};

// The number of slots that a thread has used before. One count serves several rings that advance
// together, such as the records and the queries of segments, even where they have different numbers
// of slots. The numbers of slots have to be powers of two, because others would need a division.
struct UseCount {
  std::uint32_t count = 0;

  FLASHMLA_DEVICE constexpr void advance() { ++count; }
  // Advances, and returns the count before that.
  FLASHMLA_DEVICE constexpr UseCount next() { return {count++}; }

  template <int RingSlots>
  FLASHMLA_DEVICE constexpr int slot_in() const {
    static_assert((RingSlots & (RingSlots - 1)) == 0);
    return static_cast<int>(count % RingSlots);
  }
  template <int RingSlots>
  FLASHMLA_DEVICE constexpr std::uint32_t phase_in() const {
    static_assert((RingSlots & (RingSlots - 1)) == 0);
    return count / RingSlots % 2;
  }
};

// One use of a ring of one slot, for a thread that waits in several places. The phases are computed
// once, at the start of the use.
struct SlotUse {
  std::uint32_t phase;
  std::uint32_t before;  // the phase in front of it

  FLASHMLA_DEVICE constexpr explicit SlotUse(UseCount n)
      : phase(n.phase_in<1>()), before(n.phase_in<1>() ^ 1) {}

  template <int RingSlots>
  FLASHMLA_DEVICE constexpr int slot_in() const {
    static_assert(RingSlots == 1);
    return 0;
  }
  template <int RingSlots>
  FLASHMLA_DEVICE constexpr std::uint32_t phase_in() const {
    return phase;
  }
};

// One slot of a group, for a thread that uses `GroupSlots` neighbouring slots together.
template <int GroupSlots>
struct SlotOfGroup {
  UseCount group;  // number of groups used before
  int member;      // 0 … GroupSlots − 1

  template <int RingSlots>
  FLASHMLA_DEVICE constexpr int slot_in() const {
    static_assert(RingSlots % GroupSlots == 0);
    return group.slot_in<RingSlots / GroupSlots>() * GroupSlots + member;
  }
  template <int RingSlots>
  FLASHMLA_DEVICE constexpr std::uint32_t phase_in() const {
    return group.phase_in<RingSlots / GroupSlots>();
  }
};

// The phase in front of that of a position.
template <int RingSlots, class Position>
FLASHMLA_DEVICE constexpr std::uint32_t phase_before(const Position& at) {
  return at.template phase_in<RingSlots>() ^ 1;
}
template <int RingSlots>
FLASHMLA_DEVICE constexpr std::uint32_t phase_before(const SlotUse& at) {
  return at.before;
}

// The slot of a ring of one slot, for calls that need no phase.
using OnlySlot = RingPosition<1>;

}  // namespace flashmla::sm90::pipeline
