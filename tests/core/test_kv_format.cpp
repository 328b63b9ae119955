// The byte layouts, written out as numbers. docs/formats.md has pictures of them.
#include "flashmla/kv_format.h"

#include <gtest/gtest.h>

namespace flashmla {
namespace {

TEST(KvFormat, AV32TokenIs512CodesFourScalesAndTheRotaryPart) {
  EXPECT_EQ(token_bytes(KvFormat::v32, 576), 656);
  EXPECT_EQ(format_qk_dim(KvFormat::v32), 576);
  EXPECT_EQ(V32Layout::tiles, 4);
  EXPECT_EQ(V32Layout::tile_elements, 128);
  EXPECT_EQ(V32Layout::token_offset(0), 0);
  EXPECT_EQ(V32Layout::token_offset(3), 1968);
  EXPECT_EQ(V32Layout::scales_of(0, 64), 512);
  EXPECT_EQ(V32Layout::scales_of(2, 64), 1824);
  EXPECT_EQ(V32Layout::rotary_offset, 528);
  EXPECT_EQ(rotary_bytes, 128);
}

TEST(KvFormat, AV4PageIsAllRowsThenAllScales) {
  EXPECT_EQ(token_bytes(KvFormat::v4, 512), 584);
  EXPECT_EQ(format_qk_dim(KvFormat::v4), 512);
  EXPECT_EQ(V4Layout::tiles, 7);
  EXPECT_EQ(V4Layout::tile_elements, 64);
  EXPECT_EQ(V4Layout::rotary_offset, 448);
  EXPECT_EQ(V4Layout::token_offset(0), 0);
  EXPECT_EQ(V4Layout::token_offset(63), 36288);
  EXPECT_EQ(V4Layout::scales_of(0, 64), 36864);
  EXPECT_EQ(V4Layout::scales_of(63, 64), 37368);
  EXPECT_EQ(V4Layout::scales_of(0, 1), 576);
}

TEST(KvFormat, PlainFormatsAreRowsOfNumbers) {
  for (const KvFormat format : {KvFormat::bf16, KvFormat::fp16}) {
    EXPECT_EQ(token_elements(format, 576), 576);
    EXPECT_EQ(token_bytes(format, 512), 1024);
    EXPECT_EQ(format_qk_dim(format), 0);
  }
}

}  // namespace
}  // namespace flashmla
