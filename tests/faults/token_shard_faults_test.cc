// Corrupted token shards, and the headerless kind.
#include <cstring>

#include "base/file.h"
#include "data/token_file.h"
#include "data/token_layout.h"
#include "faults/faults.h"
#include "faults/temporary_folder.h"

namespace fathom::faults {
namespace {

namespace layout = token_layout;

std::string little(uint64_t value, size_t bytes) {
  std::string out;
  for (size_t i = 0; i < bytes; ++i) out += static_cast<char>(value >> (8 * i));
  return out;
}

struct Shard {
  uint32_t version = 1, width = 2;
  uint64_t vocab_size = 10, end_of_document = 9;
  std::vector<uint64_t> ids = {1, 2, 3, 9, 4, 9};
  std::vector<uint64_t> starts = {0, 4};
  std::string begin = "FATHOMTK", end = "FATHOMTE";

  // The counts and the hash are those of the ids.
  std::string bytes() const {
    std::string out =
        begin + little(version, 4) + little(width, 4) + little(vocab_size, 8) + little(end_of_document, 8);
    std::string data;
    for (uint64_t id : ids) data += little(id, width);
    out += data + std::string((8 - data.size() % 8) % 8, '\0');
    for (uint64_t start : starts) out += little(start, 8);
    out += little(ids.size(), 8) + little(starts.size(), 8);
    const Sha256Digest digest = sha256({reinterpret_cast<const uint8_t*>(data.data()), data.size()});
    return out + std::string(digest.begin(), digest.end()) + end;
  }
};

// A shard of 120 bytes: header 32, ids 6 * 2 and padding 4, table 16, trailer 56.
constexpr size_t kIds = 32, kPadding = 44, kTable = 48, kTrailer = 64;

std::string patched(size_t at, const std::string& bytes) {
  std::string file = Shard().bytes();
  return file.replace(at, bytes.size(), bytes);
}

template <class Change>
std::string shard(Change change) {
  Shard changed;
  change(changed);
  return changed.bytes();
}

const std::string kNoEnd = "incomplete token shard: it does not end with FATHOMTE";
const std::string kNoOrder = ", which is not after the one before it and in the file";

std::vector<Fault> faults() {
  const std::string good = Shard().bytes();
  return {
      {"an empty file", "", "not a token shard: 0 bytes, expected at least 88"},
      {"one byte fewer than the least", good.substr(0, 87),
       "not a token shard: 87 bytes, expected at least 88"},
      {"a text file", repeated("once upon a time ", 10),
       "not a token shard: it does not begin with FATHOMTK"},
      {"first byte flipped", patched(0, "G"), "not a token shard: it does not begin with FATHOMTK"},
      {"the end's magic at the start", patched(0, "FATHOMTE"),
       "not a token shard: it does not begin with FATHOMTK"},
      {"version 0", shard([](Shard& s) { s.version = 0; }), "token shard of version 0, expected 1"},
      {"version 2", shard([](Shard& s) { s.version = 2; }), "token shard of version 2, expected 1"},
      {"version in big-endian order", patched(8, little(0x01000000, 4)),
       "token shard of version 16777216, expected 1"},
      {"width 0", patched(12, little(0, 4)), "ids of 0 bytes, expected 2 or 4"},
      {"width 1", patched(12, little(1, 4)), "ids of 1 bytes, expected 2 or 4"},
      {"width 8", patched(12, little(8, 4)), "ids of 8 bytes, expected 2 or 4"},
      {"width 2^32 - 1", patched(12, little(UINT32_MAX, 4)), "ids of 4294967295 bytes, expected 2 or 4"},
      {"the other width", patched(12, little(4, 4)),
       "6 tokens and 2 documents do not make a file of 120 bytes"},
      {"vocabulary 0", patched(16, little(0, 8)),
       "vocabulary of 0 entries, expected 1 to 65536 for ids of 16 bits"},
      {"vocabulary beyond 16 bits", patched(16, little(65537, 8)),
       "vocabulary of 65537 entries, expected 1 to 65536 for ids of 16 bits"},
      {"vocabulary beyond 31 bits", shard([](Shard& s) {
         s.width = 4;
         s.vocab_size = (uint64_t{1} << 31) + 1;
       }),
       "vocabulary of 2147483649 entries, expected 1 to 2147483648 for ids of 32 bits"},
      {"vocabulary 2^64 - 1", patched(16, little(UINT64_MAX, 8)),
       "vocabulary of 18446744073709551615 entries, expected 1 to 65536 for ids of 16 bits"},
      {"vocabulary smaller than an id", shard([](Shard& s) {
         s.vocab_size = 4;
         s.end_of_document = 3;
       }),
       "token 3 is id 9, outside the vocabulary of 4"},
      {"end of document outside the vocabulary", patched(24, little(10, 8)),
       "end of document is id 10 in a vocabulary of 10"},
      {"end of document 2^63", patched(24, little(uint64_t{1} << 63, 8)),
       "end of document is id 9223372036854775808 in a vocabulary of 10"},
      {"another end of document", patched(24, little(8, 8)),
       "document 0 ends with id 9, expected 8, the end of a document"},
      {"an id equal to the vocabulary's size", shard([](Shard& s) { s.ids[1] = 10; }),
       "token 1 is id 10, outside the vocabulary of 10"},
      {"the last id 65535", shard([](Shard& s) { s.ids[5] = 65535; }),
       "token 5 is id 65535, outside the vocabulary of 10"},
      {"a negative id in 32 bits", shard([](Shard& s) {
         s.width = 4;
         s.ids[0] = UINT32_MAX;
       }),
       "token 0 is id 4294967295, outside the vocabulary of 10"},
      {"an id flipped inside the vocabulary", patched(kIds, little(5, 2)),
       "the ids have the SHA-256 06c527b45d61eaf68555e88b50fa288b51c73ff3753991aa5d0f41260b6dadca, but were "
       "written with d0c3abda54f66978eb8f8707862e6127a82191251c118cc61875414017908e75"},
      {"the hash flipped", patched(kTrailer + 16, std::string(32, '\0')),
       "the ids have the SHA-256 d0c3abda54f66978eb8f8707862e6127a82191251c118cc61875414017908e75, but were "
       "written with 0000000000000000000000000000000000000000000000000000000000000000"},
      {"padding that is not zero", patched(kPadding + 3, "\1"),
       "the padding after the ids holds a byte that is not zero"},
      {"one byte cut off", good.substr(0, 119), kNoEnd},
      {"the trailer cut off", good.substr(0, kTrailer) + std::string(24, '\0'), kNoEnd},
      {"one byte appended", good + "x", kNoEnd},
      {"last byte flipped", patched(119, "K"), kNoEnd},
      {"written twice over", good + good, "6 tokens and 2 documents do not make a file of 240 bytes"},
      {"eight bytes inside removed", good.substr(0, kTable) + good.substr(kTable + 8),
       "6 tokens and 2 documents do not make a file of 112 bytes"},
      {"one token too many", patched(kTrailer, little(9, 8)),
       "9 tokens and 2 documents do not make a file of 120 bytes"},
      {"no tokens", patched(kTrailer, little(0, 8)),
       "0 tokens and 2 documents do not make a file of 120 bytes"},
      {"2^63 tokens, which overflow when multiplied", patched(kTrailer, little(uint64_t{1} << 63, 8)),
       "9223372036854775808 tokens and 2 documents do not make a file of 120 bytes"},
      {"2^64 - 1 tokens", patched(kTrailer, little(UINT64_MAX, 8)),
       "18446744073709551615 tokens and 2 documents do not make a file of 120 bytes"},
      {"one document too many", patched(kTrailer + 8, little(3, 8)),
       "6 tokens and 3 documents do not make a file of 120 bytes"},
      {"2^61 documents, which overflow when multiplied", patched(kTrailer + 8, little(uint64_t{1} << 61, 8)),
       "6 tokens and 2305843009213693952 documents do not make a file of 120 bytes"},
      {"tokens but no documents", shard([](Shard& s) { s.starts.clear(); }),
       "the first document does not start at token 0"},
      {"documents but no tokens", shard([](Shard& s) { s.ids.clear(); }),
       "the first document does not start at token 0"},
      {"the first document starts later", shard([](Shard& s) { s.starts[0] = 1; }),
       "the first document does not start at token 0"},
      {"two documents start at one token", shard([](Shard& s) {
         s.starts = {0, 4, 4};
       }),
       "document 2 starts at token 4" + kNoOrder},
      {"documents out of order", shard([](Shard& s) {
         s.starts = {0, 5, 4};
       }),
       "document 2 starts at token 4" + kNoOrder},
      {"a document starts past the end", shard([](Shard& s) { s.starts[1] = 6; }),
       "document 1 starts at token 6" + kNoOrder},
      {"a document starts at 2^64 - 1", shard([](Shard& s) { s.starts[1] = UINT64_MAX; }),
       "document 1 starts at token 18446744073709551615" + kNoOrder},
      {"a document starts before the end of the one before", shard([](Shard& s) { s.starts[1] = 3; }),
       "document 0 ends with id 3, expected 9, the end of a document"},
      {"the last document has no end", shard([](Shard& s) { s.ids[5] = 0; }),
       "document 1 ends with id 0, expected 9, the end of a document"},
  };
}

std::string read(const std::string& bytes) {
  std::vector<uint64_t> aligned(bytes.size() / 8 + 1);
  std::memcpy(aligned.data(), bytes.data(), bytes.size());
  return answer(TokenFile::parse({reinterpret_cast<const uint8_t*>(aligned.data()), bytes.size()}));
}

TEST(TokenShardFaults, EachIsRefusedWithItsSentence) { expect_refusals(Shard().bytes(), faults(), read); }

TEST(TokenShardFaults, EveryTruncationIsRefused) {
  const std::string good = Shard().bytes();
  for (size_t length = 0; length < good.size(); ++length)
    EXPECT_NE(read(good.substr(0, length)), "accepted") << length;
}

TEST(TokenShardFaults, EveryFlippedBitIsRefused) {
  const std::string good = Shard().bytes();
  for (size_t bit = 0; bit < 8 * good.size(); ++bit) {
    std::string flipped = good;
    flipped[bit / 8] = static_cast<char>(flipped[bit / 8] ^ 1 << bit % 8);
    // A larger vocabulary is one that the ids fit as well.
    const bool grows = bit / 8 == 16 || bit / 8 == 17;
    if (!grows) {
      EXPECT_NE(read(flipped), "accepted") << "bit " << bit;
    }
  }
}

// A packed file of 5 ids: header 24, ids 5 * 2.
std::string packed(const std::string& magic = "LITPKDS", uint64_t version = 1, uint64_t type = 8,
                   uint64_t count = 5, size_t width = 2) {
  std::string out = magic + little(version, 8) + little(type, 1) + little(count, 8);
  for (uint64_t id : {1, 7, 9, 2, 9}) out += little(id, width);
  return out;
}

std::vector<Fault> packed_faults() {
  const std::string good = packed();
  const std::string types = ", expected 8 (unsigned 16 bits) or 4 (32 bits)";
  const auto with_id = [&](uint64_t id) { return good.substr(0, 24) + little(id, 2) + good.substr(26); };
  return {
      {"an empty file", "", "not a packed token file: 0 bytes, expected at least 24"},
      {"the header cut off", good.substr(0, 23), "not a packed token file: 23 bytes, expected at least 24"},
      {"another magic", packed("LITPKDT"), "not a packed token file: it does not begin with LITPKDS"},
      {"version 0", packed("LITPKDS", 0), "packed token file of version 0, expected 1"},
      {"version 2^64 - 1", packed("LITPKDS", UINT64_MAX),
       "packed token file of version 18446744073709551615, expected 1"},
      {"type 0", packed("LITPKDS", 1, 0), "ids of the type with code 0" + types},
      {"type float", packed("LITPKDS", 1, 6), "ids of the type with code 6" + types},
      {"type 255", packed("LITPKDS", 1, 255), "ids of the type with code 255" + types},
      {"the other width", packed("LITPKDS", 1, 4), "5 ids of 4 bytes do not make a file of 34 bytes"},
      {"one id too many", packed("LITPKDS", 1, 8, 6), "6 ids of 2 bytes do not make a file of 34 bytes"},
      {"one id too few", packed("LITPKDS", 1, 8, 4), "4 ids of 2 bytes do not make a file of 34 bytes"},
      {"2^63 ids, which overflow when multiplied", packed("LITPKDS", 1, 8, uint64_t{1} << 63),
       "9223372036854775808 ids of 2 bytes do not make a file of 34 bytes"},
      {"one byte appended", good + "x", "5 ids of 2 bytes do not make a file of 35 bytes"},
      {"one byte cut off", good.substr(0, 33), "5 ids of 2 bytes do not make a file of 33 bytes"},
      {"an id equal to the vocabulary's size", with_id(10), "token 0 is id 10, outside the vocabulary of 10"},
      {"the first id 65535", with_id(65535), "token 0 is id 65535, outside the vocabulary of 10"},
      {"a negative id in 32 bits", packed("LITPKDS", 1, 4, 1).substr(0, 24) + little(UINT32_MAX, 4),
       "token 0 is id 4294967295, outside the vocabulary of 10"},
  };
}

TEST(TokenShardFaults, PackedFiles) {
  const auto read_packed = [](const std::string& bytes) {
    std::vector<uint64_t> aligned(bytes.size() / 8 + 1);
    std::memcpy(aligned.data(), bytes.data(), bytes.size());
    return answer(
        TokenFile::parse_packed({reinterpret_cast<const uint8_t*>(aligned.data()), bytes.size()}, 10, 9));
  };
  expect_refusals(packed(), packed_faults(), read_packed, 15);
}

// A file of llm.c: 1024 bytes, the first of them magic, version and count, then ids.
std::string llmc(uint64_t magic = 20240520, uint64_t version = 1, uint64_t count = 5, size_t width = 2) {
  std::string out = little(magic, 4) + little(version, 4) + little(count, 4);
  out += std::string(1024 - out.size(), '\0');
  for (uint64_t id : {1, 7, 9, 2, 9}) out += little(id, width);
  return out;
}

TEST(TokenShardFaults, FilesOfLlmC) {
  const TemporaryFolder folder;
  const auto open = [&](const std::string& bytes) {
    return TokenFile::open_any(folder.write("train.bin", bytes), 10, 9);
  };
  for (const std::string& good : {llmc(), llmc(20240801, 7, 5, 4)}) {
    const Result<TokenFile> file = open(good);
    ASSERT_TRUE(file.ok()) << file.error().message;
    std::vector<int32_t> ids(5);
    ASSERT_EQ(file->tokens(), 5);
    file->read(0, ids);
    EXPECT_EQ(ids, (std::vector<int32_t>{1, 7, 9, 2, 9}));
    EXPECT_EQ(file->documents(), 2);
  }
  const std::string at = folder.path() + "/train.bin: ";
  const std::vector<Fault> faults = {
      {"version 2", llmc(20240520, 2), at + "llm.c token file of version 2, expected 1"},
      {"the version of 16 bits in 32", llmc(20240801, 1, 5, 4),
       at + "llm.c token file of version 1, expected 7"},
      {"one id too many", llmc(20240520, 1, 6), at + "6 ids of 2 bytes do not make a file of 1034 bytes"},
      {"a negative count", llmc(20240520, 1, UINT32_MAX),
       at + "4294967295 ids of 2 bytes do not make a file of 1034 bytes"},
      {"the other width", llmc(20240801, 7), at + "5 ids of 4 bytes do not make a file of 1034 bytes"},
      {"one byte appended", llmc() + "x", at + "5 ids of 2 bytes do not make a file of 1035 bytes"},
      {"an id equal to the vocabulary's size", llmc().substr(0, 1024) + little(10, 2) + llmc().substr(1026),
       at + "token 0 is id 10, outside the vocabulary of 10"},
  };
  const auto read = [&](const std::string& bytes) { return answer(open(bytes)); };
  expect_refusals(llmc(), faults, read, 7);
}

TEST(TokenShardFaults, HeaderlessFiles) {
  const TemporaryFolder folder;
  const std::string path = folder.write("train.bin", little(1, 2) + little(7, 2) + little(2, 2));
  const auto open = [&](TokenWidth width, int64_t vocab_size, std::optional<int32_t> end) {
    return answer(TokenFile::open_raw(path, width, vocab_size, end));
  };
  EXPECT_EQ(open(TokenWidth::kU16, 8, 7), "accepted");
  EXPECT_EQ(open(TokenWidth::kU16, 7, std::nullopt), path + ": token 1 is id 7, outside the vocabulary of 7");
  EXPECT_EQ(open(TokenWidth::kU32, 500000, std::nullopt),
            path + ": 6 bytes are no whole number of ids of 4 bytes");
  EXPECT_EQ(open(TokenWidth::kU16, 65537, std::nullopt),
            path + ": vocabulary of 65537 entries, expected 1 to 65536 for ids of 16 bits");
  EXPECT_EQ(open(TokenWidth::kU16, -1, std::nullopt),
            path + ": vocabulary of 18446744073709551615 entries, expected 1 to 65536 for ids of 16 bits");
  EXPECT_EQ(open(TokenWidth::kU16, 8, 8), path + ": end of document is id 8 in a vocabulary of 8");
  EXPECT_EQ(open(TokenWidth::kU16, 8, -1), path + ": end of document is id -1 in a vocabulary of 8");
}

}  // namespace
}  // namespace fathom::faults
