// SHA-256 against the published examples, and independent of how the message is cut and of the processor.
#include "io/sha256.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "base/isa.h"
#include "base/random.h"

namespace fathom {
namespace {

std::string hash(const std::string& text, size_t piece) {
  Sha256 sha;
  const std::span bytes(reinterpret_cast<const uint8_t*>(text.data()), text.size());
  for (size_t i = 0; i < bytes.size(); i += piece)
    sha.update(bytes.subspan(i, std::min(piece, bytes.size() - i)));
  return to_hex(sha.finish());
}

TEST(Sha256, MatchesThePublishedExamplesOnEveryLevel) {
  for (const IsaLevel level : supported_isa_levels()) {
    const ScopedIsaLevel scoped(level);
    SCOPED_TRACE(name_of(level));
    EXPECT_EQ(hash("", 1), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    EXPECT_EQ(hash("abc", 3), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    EXPECT_EQ(hash("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq", 7),
              "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
    EXPECT_EQ(hash(std::string(1'000'000, 'a'), 1000),
              "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
  }
}

TEST(Sha256, DoesNotDependOnThePieces) {
  for (size_t length = 0; length < 200; ++length) {
    std::string text;
    for (size_t i = 0; i < length; ++i) text += static_cast<char>(i * 7);
    const std::string whole = hash(text, 1000);
    for (size_t piece : {1, 3, 63, 64, 65}) ASSERT_EQ(hash(text, piece), whole) << length << " " << piece;
  }
}

TEST(Sha256, AllLevelsAgreeOnRandomMessages) {
  RandomStream random(11, 0);
  for (int message = 0; message < 300; ++message) {
    std::string text(random.next_below(5000), '\0');
    for (char& byte : text) byte = static_cast<char>(random.next_below(256));
    const size_t piece = 1 + random.next_below(700);
    std::string portable;
    for (const IsaLevel level : supported_isa_levels()) {
      const ScopedIsaLevel scoped(level);
      const std::string found = hash(text, piece);
      if (level == IsaLevel::kPortable) portable = found;
      ASSERT_EQ(found, portable) << name_of(level) << ", " << text.size() << " bytes in pieces of " << piece;
    }
  }
}

}  // namespace
}  // namespace fathom
