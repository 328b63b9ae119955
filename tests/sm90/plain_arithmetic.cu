// The tests of plain arithmetic once more: here the device computes what the host did there.
#include "tests/sm90/ops/test_fast_divisor.cpp"
#include "tests/sm90/ops/test_mask.cpp"
#include "tests/sm90/ops/test_tile_scale.cpp"
#include "tests/sm90/pipeline/test_position.cpp"
#include "tests/sm90/tile/test_fragment.cpp"
#include "tests/sm90/tile/test_gmma_descriptor.cpp"
#include "tests/sm90/tile/test_swizzle.cpp"
