// Slots and phases of rings: where a thread stands after so many uses.
#include "sm90/pipeline/position.h"

#include <type_traits>

#include "tests/sm90/on_device.h"

namespace flashmla::sm90::pipeline {

namespace {

struct Place {
  int slot;
  std::uint32_t phase;
  std::uint32_t before;  // the phase before it

  friend bool operator==(const Place&, const Place&) = default;
};

// What a position has to say after `uses` uses of a ring: rounds alternate between the phases.
Place place_after(std::uint32_t uses, std::uint32_t slots) {
  const std::uint32_t phase = uses / slots % 2;
  return {static_cast<int>(uses % slots), phase, 1 - phase};
}

template <int Slots, class Position>
FLASHMLA_DEVICE Place place_of(const Position& at) {
  return {at.template slot_in<Slots>(), at.template phase_in<Slots>(), phase_before<Slots>(at)};
}

// Each thread goes as many slots as its number.
template <int Slots>
struct Visits {
  Place* places;

  FLASHMLA_DEVICE void operator()(int uses) const {
    RingPosition<Slots> at;
    for (int i = 0; i < uses; ++i)
      at.advance();
    places[uses] = place_of<Slots>(at);
  }
};

template <int Slots>
struct Counts {
  std::uint32_t first;  // uses of thread 0
  Place* places;
  Place* of_next;  // the count that next() gives

  FLASHMLA_DEVICE void operator()(int thread) const {
    UseCount at{first};
    for (int i = 0; i < thread; ++i)
      at.advance();
    places[thread] = place_of<Slots>(at);
    of_next[thread] = place_of<Slots>(at.next());
    if (at.count != first + static_cast<std::uint32_t>(thread) + 1)
      of_next[thread] = {-1, 0, 0};
  }
};

constexpr int visits = 40;  // several rounds of every ring

template <class Slots>
class Position : public test::DeviceTest {};

template <int Slots>
using SlotsOf = std::integral_constant<int, Slots>;
using AnyRing = testing::Types<SlotsOf<1>, SlotsOf<2>, SlotsOf<3>, SlotsOf<4>, SlotsOf<6>>;

struct SlotNames {
  template <class Slots>
  static std::string GetName(int) {
    return "of_" + std::to_string(Slots::value);
  }
};

TYPED_TEST_SUITE(Position, AnyRing, SlotNames);

TYPED_TEST(Position, OfAVisitorWrapsAroundAndTurnsThePhase) {
  constexpr int slots = TypeParam::value;
  test::Memory<Place> places(visits);
  test::run_threads(visits, Visits<slots>{places.data()});
  const std::vector<Place> got = places.read();
  for (std::uint32_t uses = 0; uses < visits; ++uses)
    ASSERT_TRUE(got[uses] == place_after(uses, slots))
        << uses << " uses: slot " << got[uses].slot << ", phase " << got[uses].phase;
}

template <class Slots>
class CountedPosition : public test::DeviceTest {};
using EvenRings = testing::Types<SlotsOf<1>, SlotsOf<2>, SlotsOf<4>>;
TYPED_TEST_SUITE(CountedPosition, EvenRings, SlotNames);

// Also where the count itself wraps around.
TYPED_TEST(CountedPosition, IsThatOfAVisitor) {
  constexpr int slots = TypeParam::value;
  for (const std::uint32_t first : {0u, 1u, 0xfffffff0u}) {
    test::Memory<Place> places(visits);
    test::Memory<Place> of_next(visits);
    test::run_threads(visits, Counts<slots>{first, places.data(), of_next.data()});
    const std::vector<Place> got = places.read();
    const std::vector<Place> got_next = of_next.read();
    for (std::uint32_t i = 0; i < visits; ++i) {
      ASSERT_TRUE(got[i] == place_after(first + i, slots)) << first << " + " << i << " uses";
      ASSERT_TRUE(got_next[i] == got[i]) << first << " + " << i << " uses: before the advance";
    }
  }
}

struct SingleUses {
  Place* places;

  FLASHMLA_DEVICE void operator()(int uses) const {
    places[uses] = place_of<1>(SlotUse(UseCount{static_cast<std::uint32_t>(uses)}));
  }
};

// A group of three slots in a ring of six, as a block of keys takes them.
struct Groups {
  static constexpr int members = 3;
  Place* places;

  FLASHMLA_DEVICE void operator()(int uses) const {
    const auto group = static_cast<std::uint32_t>(uses / members);
    places[uses] = place_of<2 * members>(SlotOfGroup<members>{UseCount{group}, uses % members});
  }
};

class SpecialPosition : public test::DeviceTest {};

TEST_F(SpecialPosition, OfOneUseKnowsBothPhases) {
  test::Memory<Place> places(visits);
  test::run_threads(visits, SingleUses{places.data()});
  const std::vector<Place> got = places.read();
  for (std::uint32_t uses = 0; uses < visits; ++uses)
    ASSERT_TRUE(got[uses] == place_after(uses, 1)) << uses << " uses";
}

// The writer visits slot after slot, the reader group after group: they have to agree.
TEST_F(SpecialPosition, InAGroupIsThatOfAVisitor) {
  test::Memory<Place> places(visits);
  test::run_threads(visits, Groups{places.data()});
  const std::vector<Place> got = places.read();
  for (std::uint32_t uses = 0; uses < visits; ++uses)
    ASSERT_TRUE(got[uses] == place_after(uses, 2 * Groups::members)) << uses << " uses";
}

}  // namespace

}  // namespace flashmla::sm90::pipeline
