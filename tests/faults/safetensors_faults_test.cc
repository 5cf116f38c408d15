// Corrupted safetensors files, and indexes of sharded ones.
#include "io/safetensors.h"

#include "faults/faults.h"
#include "faults/temporary_folder.h"
#include "io/weight_files.h"

namespace fathom::faults {
namespace {

using namespace std::string_literals;

std::string length_prefix(uint64_t length) {
  std::string out;
  for (int i = 0; i < 8; ++i) out += static_cast<char>(length >> (8 * i) & 0xff);
  return out;
}

std::string file_of(const std::string& header, size_t data_bytes = 0) {
  return length_prefix(header.size()) + header + std::string(data_bytes, '\1');
}

std::string tensor(const std::string& name, const std::string& dtype, const std::string& shape,
                   const std::string& offsets) {
  return "\"" + name + "\":{\"dtype\":\"" + dtype + "\",\"shape\":" + shape + ",\"data_offsets\":" + offsets +
         "}";
}

std::string read(const std::string& file) {
  return answer(SafetensorsFile::parse({reinterpret_cast<const uint8_t*>(file.data()), file.size()}));
}

std::vector<Fault> faults() {
  const std::string a = tensor("a", "F32", "[2]", "[0,8]");
  const std::string many = "[" + repeated("1,", 8) + "1]";
  return {
      {"an empty file", "", "the file has 0 bytes, fewer than the 8 of the header length"},
      {"seven bytes", "1234567", "the file has 7 bytes, fewer than the 8 of the header length"},
      {"a header length and nothing else", length_prefix(1),
       "header length 1 exceeds the 0 bytes that follow it"},
      {"a header shorter than its length", length_prefix(100) + "{}",
       "header length 100 exceeds the 2 bytes that follow it"},
      {"a header length above the limit", length_prefix(100'000'001) + "{}",
       "header length 100000001 exceeds the limit of 100000000"},
      {"a header length of 2^63", length_prefix(uint64_t{1} << 63) + "{}",
       "header length 9223372036854775808 exceeds the limit of 100000000"},
      {"a header length of 2^64 - 1", length_prefix(UINT64_MAX) + "{}",
       "header length 18446744073709551615 exceeds the limit of 100000000"},
      {"an empty header", file_of(""),
       "header: line 1, column 1: syntax error while parsing value - unexpected end of input; expected '[', "
       "'{', or a literal"},
      {"a header that is not UTF-8", file_of("{\"\xff\":1}"),
       "header: line 1, column 3: syntax error while parsing object key - invalid string: ill-formed UTF-8 "
       "byte; "
       "expected string literal"},
      {"a byte order mark", file_of("\xef\xbb\xbf{}"),
       "header: line 1, column 1: a byte order mark is not JSON"},
      {"something after a zero byte", file_of("{}\0{}"s),
       "header: line 1, column 3: a zero byte is not JSON"},
      {"a header cut off", file_of("{\"a\":"),
       "header: line 1, column 6: syntax error while parsing value - unexpected end of input; expected '[', "
       "'{', or a literal"},
      {"two objects", file_of("{}{}"),
       "header: line 1, column 3: syntax error while parsing value - unexpected '{'; expected end of input"},
      {"an array", file_of("[]"), "the header is an array, expected an object"},
      {"nested deeply", file_of("{\"a\":" + std::string(50, '[') + std::string(50, ']') + "}"),
       "header: line 1, column 13: nested deeper than the limit of 8"},
      {"a name given twice", file_of("{" + a + "," + a + "}", 8),
       "header: line 1, column 57: duplicate key \"a\""},
      {"metadata that is no object", file_of("{" + a + ",\"__metadata__\":3}", 8),
       "__metadata__ is an integer, expected an object"},
      {"metadata that is no string", file_of("{\"__metadata__\":{\"k\":1}}"),
       "__metadata__ entry \"k\" is an integer, expected a string"},
      {"a tensor that is no object", file_of("{\"a\":[]}"), "tensor \"a\": is an array, expected an object"},
      {"no data_offsets", file_of("{\"a\":{\"dtype\":\"F32\",\"shape\":[2]}}", 8),
       "tensor \"a\": has no member \"data_offsets\""},
      {"an unknown member",
       file_of("{\"a\":{\"dtype\":\"F32\",\"shape\":[],\"data_offsets\":[0,4],\"x\":0}}", 4),
       "tensor \"a\": has the unknown member \"x\""},
      {"an unknown dtype", file_of("{" + tensor("a", "F7", "[2]", "[0,8]") + "}", 8),
       "tensor \"a\": unknown dtype \"F7\""},
      {"a dtype that is no string", file_of("{\"a\":{\"dtype\":4,\"shape\":[2],\"data_offsets\":[0,8]}}", 8),
       "tensor \"a\": dtype is an integer, expected a string"},
      {"a dtype of eight-bit floats", file_of("{" + tensor("a", "F8_E4M3", "[8]", "[0,8]") + "}", 8),
       "tensor \"a\": dtype F8_E4M3 is not supported"},
      {"a dtype of four bits", file_of("{" + tensor("a", "F4", "[3]", "[0,2]") + "}", 2),
       "tensor \"a\": dtype F4 is not supported"},
      {"a shape that is no array", file_of("{" + tensor("a", "F32", "2", "[0,8]") + "}", 8),
       "tensor \"a\": shape is an integer, expected an array"},
      {"a negative extent", file_of("{" + tensor("a", "F32", "[-2]", "[0,8]") + "}", 8),
       "tensor \"a\": an extent of the shape is a negative integer, expected a non-negative integer"},
      {"a fractional extent", file_of("{" + tensor("a", "F32", "[2.0]", "[0,8]") + "}", 8),
       "tensor \"a\": an extent of the shape is a number with fraction or exponent, expected a non-negative "
       "integer"},
      {"an extent with an exponent", file_of("{" + tensor("a", "F32", "[2e0]", "[0,8]") + "}", 8),
       "tensor \"a\": an extent of the shape is a number with fraction or exponent, expected a non-negative "
       "integer"},
      {"an extent in quotes", file_of("{" + tensor("a", "F32", "[\"2\"]", "[0,8]") + "}", 8),
       "tensor \"a\": an extent of the shape is a string, expected a non-negative integer"},
      {"nine dimensions", file_of("{" + tensor("a", "F32", many, "[0,4]") + "}", 4),
       "tensor \"a\": has 9 dimensions, more than the limit of 8"},
      {"one offset", file_of("{" + tensor("a", "F32", "[2]", "[0]") + "}", 8),
       "tensor \"a\": data_offsets is not an array of two integers"},
      {"a negative offset", file_of("{" + tensor("a", "F32", "[2]", "[-1,8]") + "}", 8),
       "tensor \"a\": the begin of data_offsets is a negative integer, expected a non-negative integer"},
      {"a fractional offset", file_of("{" + tensor("a", "F32", "[2]", "[0,8.0]") + "}", 8),
       "tensor \"a\": the end of data_offsets is a number with fraction or exponent, expected a non-negative "
       "integer"},
      {"an end before the begin", file_of("{" + tensor("a", "F32", "[2]", "[8,0]") + "}", 8),
       "tensor \"a\": data_offsets [8, 0) end before they begin"},
      {"tensors that overlap", file_of("{" + a + "," + tensor("b", "F32", "[2]", "[4,12]") + "}", 12),
       "tensor \"b\": data_offsets [4, 12) overlap the tensor before, which ends at 8"},
      {"two tensors at one place", file_of("{" + a + "," + tensor("b", "F32", "[2]", "[0,8]") + "}", 8),
       "tensor \"b\": data_offsets [0, 8) overlap the tensor before, which ends at 8"},
      {"a hole between tensors", file_of("{" + a + "," + tensor("b", "F32", "[2]", "[12,20]") + "}", 20),
       "tensor \"b\": data_offsets [12, 20) leave a hole after the tensor before, which ends at 8"},
      {"a hole before the first tensor", file_of("{" + tensor("a", "F32", "[2]", "[4,12]") + "}", 12),
       "tensor \"a\": data_offsets [4, 12) leave a hole after the tensor before, which ends at 0"},
      {"a shape of other bytes than the offsets", file_of("{" + tensor("a", "F32", "[3]", "[0,8]") + "}", 8),
       "tensor \"a\": shape [3] of F32 needs 12 bytes, data_offsets [0, 8) give 8"},
      {"an extent of 2^64 - 2",
       file_of("{" + tensor("a", "U8", "[2,18446744073709551614]", "[0,8]") + "}", 8),
       "tensor \"a\": extent 18446744073709551614 of the shape exceeds 63 bits"},
      {"a product of extents that overflows with the dtype",
       file_of("{" + tensor("a", "F32", "[2,9223372036854775807]", "[0,8]") + "}", 8),
       "tensor \"a\": shape [2, 9223372036854775807] of F32 needs more than 2^64 bytes"},
      {"a product of extents that overflows",
       file_of("{" + tensor("a", "F32", "[4294967296,4294967296]", "[0,0]") + "}"),
       "tensor \"a\": shape [4294967296, 4294967296] of F32 needs more than 2^64 bytes"},
      {"a terabyte in a file of four bytes",
       file_of("{" + tensor("a", "U8", "[1000000000000]", "[0,1000000000000]") + "}", 4),
       "truncated: tensors need 1000000000000 bytes of data, the file has 4"},
      {"a byte of data missing", file_of("{" + a + "}", 7),
       "truncated: tensors need 8 bytes of data, the file has 7"},
      {"a byte of data too much", file_of("{" + a + "}", 9), "1 bytes after the last tensor"},
      {"data without tensors", file_of("{}", 3), "3 bytes after the last tensor"},
      {"a long name", file_of("{" + tensor(std::string(4097, 'n'), "F32", "[]", "[0,4]") + "}", 4),
       "a tensor's name has 4097 bytes, more than the limit of 4096"},
      {"a header length in big-endian order", "\0\0\0\0\0\0\0\2{}"s,
       "header length 144115188075855872 exceeds the limit of 100000000"},
      {"a text file", "once upon a time", "header length 8030046917602012783 exceeds the limit of 100000000"},
      {"not JSON at all", file_of("nonsense"),
       "header: line 1, column 2: syntax error while parsing value - invalid literal"},
      {"a literal that is no JSON", file_of("{\"a\":NaN}"),
       "header: line 1, column 6: syntax error while parsing value - invalid literal"},
      {"a lone surrogate", file_of("{\"\\ud800\":1}"),
       "header: line 1, column 9: syntax error while parsing object key - invalid string: surrogate "
       "U+D800..U+DBFF must be followed by U+DC00..U+DFFF; expected string literal"},
      {"a line break inside a name", file_of("{\"a\nb\":1}"),
       "header: line 1, column 4: syntax error while parsing object key - invalid string: control character "
       "U+000A (LF) must be escaped to \\u000A or \\n; expected string literal"},
      {"a comma too many", file_of("{" + a + ",}", 8),
       "header: line 1, column 55: syntax error while parsing object key - unexpected '}'; expected string "
       "literal"},
      {"metadata given twice", file_of("{\"__metadata__\":{},\"__metadata__\":{}}"),
       "header: line 1, column 33: duplicate key \"__metadata__\""},
      {"a key of metadata given twice", file_of("{\"__metadata__\":{\"k\":\"1\",\"k\":\"2\"}}"),
       "header: line 1, column 28: duplicate key \"k\""},
      {"a member given twice",
       file_of("{\"a\":{\"dtype\":\"F32\",\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}", 8),
       "header: line 1, column 27: duplicate key \"dtype\""},
      {"metadata that is null", file_of("{\"__metadata__\":null}"),
       "__metadata__ is null, expected an object"},
      {"a tensor that is null", file_of("{\"a\":null}"), "tensor \"a\": is null, expected an object"},
      {"a dtype in lower case", file_of("{" + tensor("a", "f32", "[2]", "[0,8]") + "}", 8),
       "tensor \"a\": unknown dtype \"f32\""},
      {"an extent that is null", file_of("{" + tensor("a", "F32", "[null]", "[0,8]") + "}", 8),
       "tensor \"a\": an extent of the shape is null, expected a non-negative integer"},
      {"an extent beyond 64 bits",
       file_of("{" + tensor("a", "F32", "[18446744073709551616]", "[0,8]") + "}", 8),
       "tensor \"a\": an extent of the shape is a number with fraction or exponent, expected a non-negative "
       "integer"},
      {"an extent beyond all numbers", file_of("{" + tensor("a", "F32", "[1e999]", "[0,8]") + "}", 8),
       "header: line 1, column 34: number overflow parsing '1e999'"},
      {"three offsets", file_of("{" + tensor("a", "F32", "[2]", "[0,8,8]") + "}", 8),
       "tensor \"a\": data_offsets is not an array of two integers"},
      {"offsets that are an object",
       file_of("{" + tensor("a", "F32", "[2]", "{\"begin\":0,\"end\":8}") + "}", 8),
       "tensor \"a\": data_offsets is not an array of two integers"},
      {"a begin of 2^64 - 1", file_of("{" + tensor("a", "F32", "[2]", "[18446744073709551615,7]") + "}", 8),
       "tensor \"a\": data_offsets [18446744073709551615, 7) end before they begin"},
      {"an end of 2^64 - 1", file_of("{" + tensor("a", "F32", "[2]", "[0,18446744073709551615]") + "}", 8),
       "tensor \"a\": shape [2] of F32 needs 8 bytes, data_offsets [0, 18446744073709551615) give "
       "18446744073709551615"},
      {"an empty tensor inside another", file_of("{" + a + "," + tensor("b", "F32", "[0]", "[4,4]") + "}", 8),
       "tensor \"b\": data_offsets [4, 4) overlap the tensor before, which ends at 8"},
      {"a scalar without data", file_of("{" + tensor("a", "F32", "[]", "[0,0]") + "}"),
       "tensor \"a\": shape [] of F32 needs 4 bytes, data_offsets [0, 0) give 0"},
      {"another dtype of another width", file_of("{" + tensor("a", "BF16", "[2]", "[0,8]") + "}", 8),
       "tensor \"a\": shape [2] of BF16 needs 4 bytes, data_offsets [0, 8) give 8"},
  };
}

TEST(SafetensorsFaults, EachIsRefusedWithItsSentence) {
  const std::string good = file_of("{" + tensor("a", "F32", "[2]", "[0,8]") + "}", 8);
  expect_refusals(good, faults(), read);
}

// t0 lies in the file a, t1 in b, t0 and t2 in both.
class Shards {
 public:
  Shards() {
    folder_.write("a", file_of("{" + tensor("t0", "F32", "[1]", "[0,4]") + "}", 4));
    folder_.write("b", file_of("{" + tensor("t1", "F32", "[1]", "[0,4]") + "}", 4));
    folder_.write("both", file_of("{" + tensor("t0", "F32", "[1]", "[0,4]") + "," +
                                      tensor("t2", "U8", "[]", "[4,5]") + "}",
                                  5));
    folder_.write("broken", file_of("{}", 1));
    folder_.write("folder/a", file_of("{" + tensor("t0", "F32", "[1]", "[0,4]") + "}", 4));
  }
  // The sentence without the folder's name.
  std::string read(const std::string& index) const {
    folder_.write("model.safetensors.index.json", index);
    std::string sentence = answer(WeightFiles::open(folder_.path()));
    const std::string folder = "~";
    for (size_t at; (at = sentence.find(folder_.path())) != std::string::npos;)
      sentence.replace(at, folder_.path().size(), folder);
    return sentence;
  }

 private:
  TemporaryFolder folder_;
};

std::vector<Fault> index_faults() {
  const std::string index = "~/model.safetensors.index.json: ";
  const auto map = [](const std::string& entries) { return "{\"weight_map\":{" + entries + "}}"; };
  return {
      {"an empty index", "",
       index + "line 1, column 1: syntax error while parsing value - unexpected end of input; expected '[', "
               "'{', or a literal"},
      {"an index cut off", R"({"weight_map":{"t0":"a")",
       index +
           "line 1, column 24: syntax error while parsing object - unexpected end of input; expected '}'"},
      {"an array", "[]", index + "no object \"weight_map\""},
      {"no map", R"({"metadata":{"total_size":8}})", index + "no object \"weight_map\""},
      {"a map that is an array", R"({"weight_map":["t0","a"]})", index + "no object \"weight_map\""},
      {"an empty map", map(""), index + "\"weight_map\" names no tensor"},
      {"a tensor twice", map(R"("t0":"a","t0":"a")"), index + "line 1, column 28: duplicate key \"t0\""},
      {"nested deeply", repeated("[", 1000), index + "line 1, column 65: nested deeper than the limit of 64"},
      {"a shard that is a number", map(R"("t0":1)"),
       index + "the shard of tensor \"t0\" is an integer, expected a string"},
      {"a shard that is null", map(R"("t0":null)"),
       index + "the shard of tensor \"t0\" is null, expected a string"},
      {"a way out of the folder", map(R"("t0":"../a")"),
       index + "tensor \"t0\" is in shard \"../a\", expected a plain file name"},
      {"a folder above", map(R"("t0":"..")"),
       index + "tensor \"t0\" is in shard \"..\", expected a plain file name"},
      {"an absolute path", map(R"("t0":"/a")"),
       index + "tensor \"t0\" is in shard \"/a\", expected a plain file name"},
      {"a folder below", map(R"("t0":"folder/a")"),
       index + "tensor \"t0\" is in shard \"folder/a\", expected a plain file name"},
      {"a backslash", map(R"("t0":"folder\\a")"),
       index + "tensor \"t0\" is in shard \"folder\\a\", expected a plain file name"},
      {"no name", map(R"("t0":"")"), index + "tensor \"t0\" is in shard \"\", expected a plain file name"},
      {"an absent shard", map(R"("t0":"a","t1":"c")"), index + "names the absent file \"c\""},
      {"a name with a line break", map(R"("t0":"a","t1":"c\nd")"), index + "names the absent file \"c?d\""},
      {"a folder as a shard", map(R"("t0":"folder")"), "~/folder: not a regular file"},
      {"a broken shard", map(R"("t0":"broken")"), "~/broken: 1 bytes after the last tensor"},
      {"a tensor that its shard lacks", map(R"("t0":"a","t2":"b")"),
       index + "shard \"b\" lacks the tensor \"t2\" promised to be there"},
      {"two shards exchanged", map(R"("t0":"b","t1":"a")"),
       index + "shard \"b\" lacks the tensor \"t0\" promised to be there"},
      {"a tensor in two shards", map(R"("t0":"a","t2":"both")"),
       "~: tensor \"t0\" is in two shards, a and both"},
      {"a tensor that the index does not name", map(R"("t0":"both")"),
       "~/both: holds the tensor \"t2\", which model.safetensors.index.json does not name"},
  };
}

TEST(SafetensorsFaults, OfIndexesAreRefusedWithTheirSentences) {
  const Shards shards;
  const auto reader = [&](const std::string& index) { return shards.read(index); };
  expect_refusals(R"({"weight_map":{"t0":"a","t1":"b"}})", index_faults(), reader, 20);
}

}  // namespace
}  // namespace fathom::faults
