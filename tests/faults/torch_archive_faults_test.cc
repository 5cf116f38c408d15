// Corrupted archives of torch: the zip around them, the pickle inside, and the storages it names.
#include "io/torch_archive.h"

#include "faults/faults.h"
#include "io/archive_testing.h"

namespace fathom::faults {
namespace {

using namespace std::string_literals;
using namespace testing_archive;

std::string read(const std::string& file) {
  return answer(TorchArchive::parse({reinterpret_cast<const uint8_t*>(file.data()), file.size()}));
}

std::string good_pickle() { return state_dict(small_tensors()); }
std::string good() { return archive(good_pickle(), {small_storage()}); }

// The archive with another pickle, whose sentences begin with "data.pkl: ".
Fault pickle(const std::string& name, const std::string& text, const std::string& sentence) {
  return {name, archive(text, {small_storage()}), "data.pkl: " + sentence};
}
// The archive of one tensor.
Fault tensor(const std::string& name, const Tensor& described, const std::string& sentence) {
  return {name, archive(state_dict({described}), {small_storage()}),
          "tensor \"" + described.name + "\": " + sentence};
}
// A pickle of a few opcodes behind the protocol.
std::string opcodes(const std::string& text) { return "\x80\x02" + text; }

// The directory record of the first entry begins with these fields: change one of them.
std::string with_field(size_t at, const std::string& value) {
  ZipParts parts = zip_parts(entries_of(good_pickle(), {small_storage()}));
  parts.directory.replace(at, value.size(), value);
  return parts.joined();
}
std::string with_end(const std::string& end) {
  ZipParts parts = zip_parts(entries_of(good_pickle(), {small_storage()}));
  parts.end = end;
  return parts.joined();
}
std::string named(const std::string& name) { return zip({{"model/data.pkl", good_pickle()}, {name, ""}}); }

std::vector<Fault> zip_faults() {
  const std::string file = good();
  const ZipParts parts = zip_parts(entries_of(good_pickle(), {small_storage()}));
  const uint64_t begin = parts.entries.size(), bytes = parts.directory.size(), end = begin + bytes;
  const std::string at_end = std::to_string(end);
  const std::string no_end =
      "not a zip file, or truncated: its last 22 bytes are no end record of a directory";
  const std::string path = ", expected a relative path without \"..\"";
  // An entry whose local header lies in the data of another.
  const ZipParts inner = zip_parts({{"model/inside", "x"}});
  ZipParts overlap = zip_parts({{"model/data.pkl", inner.entries}});
  overlap.directory += std::string(inner.directory).replace(42, 4, number(44, 4));
  overlap.end = zip_end(2, overlap.directory.size(), overlap.entries.size());
  std::string other_name = file;
  other_name.replace(30, 5, "MODEL");
  const std::string wide = zip64(entries_of(good_pickle(), {small_storage()}));
  std::string lost = wide;
  lost.replace(lost.size() - 22 - 12, 8, number(7, 8));
  std::string beyond = wide;
  beyond.replace(beyond.size() - 22 - 12, 8, number(UINT64_MAX, 8));
  std::string long64 = wide;
  long64.replace(long64.size() - 22 - 20 - 16, 8, number(UINT64_MAX, 8));
  return {
      {"an empty file", "", no_end},
      {"a safetensors file", "\x02\0\0\0\0\0\0\0{}                                "s, no_end},
      {"a pickle alone", good_pickle(), no_end},
      {"a byte missing at the end", file.substr(0, file.size() - 1), no_end},
      {"a file cut in half", file.substr(0, file.size() / 2), no_end},
      {"a byte after the end", file + "x", no_end},
      {"a byte missing at the start", file.substr(1),
       "the zip directory of " + std::to_string(bytes) + " bytes at byte " + std::to_string(begin) +
           " does not end at its end record, byte " + std::to_string(end - 1)},
      {"a comment", with_end(zip_end(4, bytes, begin).substr(0, 20) + "\1\0"s),
       "the zip file has a comment, expected none"},
      {"several disks", with_end(with(zip_end(4, bytes, begin), "PK\5\6\0\0"s, "PK\5\6\1\0"s)),
       "the zip file is one of several disks"},
      {"a directory beyond the file", with_end(zip_end(4, bytes, 0xfffffff0)),
       "the zip directory of " + std::to_string(bytes) +
           " bytes at byte 4294967280 does not end at its end record, byte " + at_end},
      {"a directory too long", with_end(zip_end(4, bytes + 1, begin)),
       "the zip directory of " + std::to_string(bytes + 1) + " bytes at byte " + std::to_string(begin) +
           " does not end at its end record, byte " + at_end},
      {"more records than the directory has", with_end(zip_end(5, bytes, begin)),
       "the zip directory has no record at byte " + at_end + ", expected 5 records"},
      {"fewer records than the directory has", with_end(zip_end(3, bytes, begin)),
       "the zip directory has more than its 3 records"},
      {"a zip64 locator that points nowhere", lost,
       "the zip64 locator points to byte 7, where no zip64 end record is"},
      {"a zip64 locator that points beyond the file", beyond,
       "the zip64 locator points to byte 18446744073709551615, where no zip64 end record is"},
      {"a directory of 2^64 - 1 bytes", long64,
       "the zip directory of 18446744073709551615 bytes at byte " + std::to_string(begin) +
           " does not end at its end record, byte " + at_end},
      {"a record of another kind", with_field(0, "PK\1\1"),
       "the zip directory has no record at byte " + std::to_string(begin) + ", expected 4 records"},
      {"a name beyond the directory", with_field(28, "\xff\xff"),
       "the record at byte " + std::to_string(begin) + " reaches beyond the zip directory"},
      {"an encrypted entry", with_field(8, "\1\0"s), "entry \"model/data.pkl\": is encrypted"},
      {"a compressed entry", with_field(10, "\10\0"s),
       "entry \"model/data.pkl\": is compressed (method 8), expected it stored as it is"},
      {"two sizes of an entry", with_field(20, number(1, 4)),
       "entry \"model/data.pkl\": is stored in 1 bytes, expected its size of " +
           std::to_string(good_pickle().size())},
      {"an entry longer than the file", with_field(20, number(1 << 30, 4) + number(1 << 30, 4)),
       "entry \"model/data.pkl\": has 1073741824 bytes, and only " + std::to_string(begin - 44) +
           " lie between it and the directory"},
      {"an entry that begins elsewhere", with_field(42, number(1, 4)),
       "entry \"model/data.pkl\": its local header is said to be at byte 1, where none is"},
      {"an entry that begins beyond the file", with_field(42, number(0xffffff00, 4)),
       "entry \"model/data.pkl\": its local header is said to be at byte 4294967040, where none is"},
      {"another name in the local header", other_name,
       "entry \"model/data.pkl\": its local header has another name, \"MODEL/data.pkl\""},
      {"an entry twice", zip({{"model/data.pkl", good_pickle()}, {"model/data.pkl", ""}}),
       "two entries are named \"model/data.pkl\""},
      {"entries that overlap", overlap.joined(), "entries \"model/data.pkl\" and \"model/inside\" overlap"},
      {"an absolute path", named("/etc/passwd"), "an entry is named \"/etc/passwd\"" + path},
      {"a way out of the folder", named("model/../../x"), "an entry is named \"model/../../x\"" + path},
      {"only a way out", named(".."), "an entry is named \"..\"" + path},
      {"a backslash", named("model\\x"), "an entry is named \"model\\x\"" + path},
      {"a zero byte in a name", named("model/x\0y"s), "an entry is named \"model/x?y\"" + path},
      {"no name", named(""), "an entry is named \"\"" + path},
      {"a long name", named("model/" + std::string(4091, 'n')),
       "an entry's name has 4097 bytes, more than the limit of 4096"},
      {"an entry outside the folder", named("data"),
       "entry \"data\" is not in the one folder of a torch archive"},
      {"two folders", named("other/data/0"),
       "entry \"other/data/0\" is not in the one folder of a torch archive"},
      {"no entries", zip({}), "the zip file has no data.pkl: it is not a torch archive"},
      {"no pickle", zip({{"model/version", "3"}}), "the zip file has no data.pkl: it is not a torch archive"},
      {"big-endian numbers",
       zip({{"model/data.pkl", good_pickle()}, {"model/byteorder", "big"}, {"model/data/0", ""}}),
       "byteorder is \"big\", expected \"little\""},
  };
}

TEST(TorchArchiveFaults, OfTheZipAreRefusedWithTheirSentences) {
  expect_refusals(good(), zip_faults(), read);
}

TEST(TorchArchiveFaults, EveryTruncationIsRefused) {
  const std::string file = good();
  for (size_t bytes = 0; bytes < file.size(); ++bytes) EXPECT_NE(read(file.substr(0, bytes)), "accepted");
}

std::vector<Fault> pickle_faults() {
  const std::string system = global("os", "system") + "(" + text("true") + "tR.";
  const Tensor one = {"w", "0", 6, {6}, {1}};
  const std::string rebuild = global("torch._utils", "_rebuild_tensor_v2");
  return {
      pickle("an empty pickle", "", "byte 0: the pickle ends inside an opcode that needs 1 more bytes"),
      pickle("a pickle cut off", good_pickle().substr(0, 9),
             "byte 4: the pickle ends inside an opcode that needs 1 more bytes"),
      pickle("something after the pickle", good_pickle() + ".", "1 bytes after the end of the pickle"),
      pickle("another protocol", "\x80\x04}.", "byte 0: pickle protocol 4, expected 2"),
      pickle("a call of the system", opcodes(system),
             "byte 2: global \"os.system\" is not allowed in a state dict"),
      pickle("an evaluated text", opcodes(global("builtins", "eval")),
             "byte 2: global \"builtins.eval\" is not allowed in a state dict"),
      pickle("another function of torch", opcodes(global("torch._utils", "_rebuild_qtensor")),
             "byte 2: global \"torch._utils._rebuild_qtensor\" is not allowed in a state dict"),
      pickle("a global that has no end", opcodes("cos\nsystem"),
             "byte 2: the pickle ends inside the name of a global"),
      pickle("a global with a line of control characters", opcodes(global("os\x1b[2J", "system")),
             "byte 2: global \"os?[2J.system\" is not allowed in a state dict"),
      pickle("an instance", opcodes("(ios\nsystem\n."), "byte 3: opcode 0x69 is not allowed in a state dict"),
      pickle("a new object", opcodes("})\x81."), "byte 4: opcode 0x81 is not allowed in a state dict"),
      pickle("a global from the stack", opcodes("\x93"),
             "byte 2: opcode 0x93 is not allowed in a state dict"),
      pickle("a list", opcodes("]."), "byte 2: opcode 0x5d is not allowed in a state dict"),
      pickle("an extension", opcodes("\x82\1"), "byte 2: opcode 0x82 is not allowed in a state dict"),
      pickle("memo entries that leap", opcodes("}r\xff\xff\xff\x7f."),
             "byte 3: sets memo entry 2147483647, expected the next one, 0"),
      pickle("a memo entry set twice", opcodes("}q\0q\0."s),
             "byte 5: sets memo entry 0, expected the next one, 1"),
      pickle("a memo entry that is not set", opcodes("h\7."), "byte 2: reads memo entry 7, which is not set"),
      pickle("a memo of nothing", opcodes("q\0"s), "byte 2: remembers a value where none is"),
      pickle("a memo without end",
             opcodes("}q\0"s +
                     [] {
                       std::string out;
                       for (uint64_t i = 1; i <= 1'000'000; ++i) out.append("r").append(number(i, 4));
                       return out;
                     }()),
             "byte 5000000: more than 1000000 memo entries"),
      pickle("a stack without end", opcodes(std::string(1'000'001, 'N')),
             "byte 1000002: more than 1000000 values on the stack"),
      pickle("marks without end", opcodes(std::string(1'000, '(')), "byte 66: more than 64 open marks"),
      pickle("a pile of dicts", opcodes(repeated("(}t", 1'000'001)),
             "byte 3000003: more than 1000000 values of one kind, here a dict"),
      pickle("no dict at the end", opcodes("K\1."), "the pickle is an integer, expected a dict of tensors"),
      pickle("two values at the end", opcodes("}}."),
             "byte 4: the pickle ends with 2 values on the stack, expected one"),
      pickle("nothing at the end", opcodes("."),
             "byte 2: the pickle ends with 0 values on the stack, expected one"),
      pickle("an open mark at the end", opcodes("}(."),
             "byte 4: the pickle ends with 1 values on the stack, expected one"),
      pickle("a mark that is not open", opcodes("t"), "byte 2: closes a mark where none is open"),
      pickle("a value from below a mark", opcodes("N(\x85"), "byte 4: takes a value where none is"),
      pickle("items for a text", opcodes(text("a") + "(" + text("b") + "Nu."),
             "byte 16: what items are added to is a text, expected a dict"),
      pickle("items for nothing", opcodes("(u."), "byte 3: adds to a dict where none is"),
      pickle("a key without a value", opcodes("}(" + text("a") + "u."),
             "byte 10: adds a key without a value"),
      pickle("a number as a key", opcodes("}K\1Ns."),
             "byte 6: a key of a dict is an integer, expected a text"),
      pickle("a call of a text", opcodes(text("a") + ")R."),
             "byte 9: what is called is a text, expected a global"),
      pickle("a call without arguments", opcodes(global("collections", "OrderedDict") + "NR."),
             "byte 28: the argument list of a call is None, expected a tuple"),
      pickle("an OrderedDict made of something", opcodes(global("collections", "OrderedDict") + "N\x85R."),
             "byte 29: an OrderedDict is made of arguments, expected none"),
      pickle("a call of a type", opcodes(global("torch", "FloatStorage") + ")R."),
             "byte 23: calls \"torch.FloatStorage\", which only names a type"),
      pickle("a tensor of too few arguments", opcodes(rebuild + ")R."),
             "byte 36: a tensor is made of 0 arguments, expected 6 or 7"),
      pickle("a tensor without a storage", opcodes(rebuild + "(NNNNNNtR."),
             "byte 43: the storage of a tensor is None, expected a storage"),
      pickle("a parameter that is no tensor",
             opcodes(global("torch._utils", "_rebuild_parameter") + "(NNNtR."),
             "byte 40: the data of a parameter is None, expected a tensor"),
      pickle("a negative offset",
             with(state_dict({one}), integer(0) + integers({6}), integer(0xffffffff) + integers({6})),
             "byte 146: the offset of a tensor is -1"),
      pickle("a negative extent", with(state_dict({one}), integers({6}), integers({0xffffffff})),
             "byte 146: an extent or stride of a tensor is -1"),
      pickle("more strides than extents", with(state_dict({one}), integers({6}), integers({})),
             "byte 141: a tensor has 0 extents and 1 strides"),
      pickle("nine dimensions",
             state_dict({{"w", "0", 6, {1, 1, 1, 1, 1, 1, 1, 1, 6}, {1, 1, 1, 1, 1, 1, 1, 1, 1}}}),
             "byte 226: a tensor has 9 dimensions, more than the limit of 8"),
      pickle("a storage with a long key", state_dict({{"w", std::string(4097, '0'), 6, {6}, {1}}}),
             "byte 4193: the key of a storage has 4097 bytes, more than the limit of 4096"),
      pickle("a persistent id that is no tuple", opcodes("NQ."),
             "byte 3: a persistent id is None, expected a tuple"),
      pickle("a persistent id of other parts", opcodes("N\x85Q."),
             "byte 4: a persistent id has 1 parts, expected 5"),
      pickle("a persistent id of another kind", with(state_dict({one}), "storage", "modules"),
             "byte 97: a persistent id of kind \"modules\", expected \"storage\""),
      pickle("a storage type that is a function",
             with(state_dict({one}), global("torch", "FloatStorage"), global("collections", "OrderedDict")),
             "byte 102: the type of a storage is \"collections.OrderedDict\""),
      pickle("a storage of truth values", state_dict({{"w", "0", 24, {24}, {1}, 0, "BoolStorage"}}),
             "byte 96: storage type \"torch.BoolStorage\" is not supported"),
      pickle("a storage of unknown type", state_dict({{"w", "0", 6, {6}, {1}, 0, "QInt8Storage"}}),
             "byte 57: global \"torch.QInt8Storage\" is not allowed in a state dict"),
      pickle("a long integer", opcodes("\x8a\x09"), "byte 2: an integer of 9 bytes, expected at most 8"),
      pickle("a state for nothing", opcodes("}b"), "byte 3: gives a state where no value is"),
      pickle("a tensor twice", state_dict({one, one}), "tensor \"w\" is there twice"),
      pickle("an entry that is no tensor", opcodes("}" + text("epoch") + "K\1s."),
             "entry \"epoch\" is an integer, expected a tensor"),
      pickle("a checkpoint around the state dict", opcodes("}" + text("model") + "}s."),
             "entry \"model\" is a dict, expected a tensor"),
  };
}

TEST(TorchArchiveFaults, OfThePickleAreRefusedWithTheirSentences) {
  expect_refusals(good(), pickle_faults(), read);
}

std::vector<Fault> tensor_faults() {
  return {
      tensor("a missing storage", {"w", "1", 6, {6}, {1}}, "its storage \"1\" is missing"),
      tensor("a storage out of the folder", {"w", "../x", 6, {6}, {1}}, "its storage \"../x\" is missing"),
      tensor("a storage too short", {"w", "0", 7, {7}, {1}},
             "its storage \"0\" has 24 bytes, expected 7 elements of F32"),
      tensor("a storage too long", {"w", "0", 5, {5}, {1}},
             "its storage \"0\" has 24 bytes, expected 5 elements of F32"),
      tensor("a storage of another type", {"w", "0", 6, {6}, {1}, 0, "HalfStorage"},
             "its storage \"0\" has 24 bytes, expected 6 elements of F16"),
      tensor("a tensor beyond its storage", {"w", "0", 6, {7}, {1}},
             "shape [7] at element 0 does not fit its storage of 6 elements"),
      tensor("an offset beyond the storage", {"w", "0", 6, {2}, {1}, 5},
             "shape [2] at element 5 does not fit its storage of 6 elements"),
      tensor("a shape that overflows", {"w", "0", 6, {0x7fffffff, 0x7fffffff, 0x7fffffff}, {1, 1, 1}},
             "shape [2147483647, 2147483647, 2147483647] at element 0 does not fit its storage of 6 "
             "elements"),
      tensor("a transposed tensor", {"w", "0", 6, {3, 2}, {1, 3}},
             "its strides [1, 3] are not those of a packed [3, 2]"),
      tensor("a tensor that repeats a value", {"w", "0", 6, {6}, {0}},
             "its strides [0] are not those of a packed [6]"),
      {"a long name", archive(state_dict({{std::string(4097, 'n'), "0", 6, {6}, {1}}}), {small_storage()}),
       "tensor \"" + std::string(200, 'n') + "...\": its name has 4097 bytes, more than the limit of 4096"},
  };
}

TEST(TorchArchiveFaults, OfTensorsAreRefusedWithTheirSentences) {
  expect_refusals(good(), tensor_faults(), read, 11);
}

}  // namespace
}  // namespace fathom::faults
