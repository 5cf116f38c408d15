// What the reader makes of a file; tests/faults has the files that it refuses.
#include "text/tokenizer_json.h"

#include <gtest/gtest.h>

#include "text/testing.h"

namespace fathom::text {
namespace {

using namespace testing;

TEST(TokenizerJson, IgnoresTruncationAndPadding) {
  Json json = small_json();
  json["truncation"] = {{"max_length", 1}};
  json["padding"] = {{"pad_id", 0}};
  EXPECT_EQ(make(json).encode("abc").size(), 3U);
}

TEST(TokenizerJson, UnsupportedKindsAreToldFromBrokenFiles) {
  Json json = small_json();
  json["model"]["type"] = "Unigram";
  EXPECT_EQ(read_tokenizer_json(json.dump()).error().kind, ErrorKind::kNotSupported);
  EXPECT_EQ(read_tokenizer_json("{").error().kind, ErrorKind::kInvalid);
}

}  // namespace
}  // namespace fathom::text
