#include "io/state_dict_pickle.h"

#include <array>
#include <cstdio>
#include <string_view>
#include <unordered_set>

#include "base/sentence.h"
#include "io/pickle_bytes.h"
#include "io/pickle_values.h"
#include "io/tensor_file.h"

namespace fathom {

namespace {

using Limits = PickleLimits;
using namespace pickle;

struct Storage {
  std::string_view key;
  DType dtype = DType::kF32;
  uint64_t elements = 0;
};

struct Tensor {
  int64_t storage = 0;
  uint64_t offset = 0;
  int64_t shape = 0, strides = 0;  // tuples
};

class Interpreter {
 public:
  explicit Interpreter(std::span<const uint8_t> pickle) : bytes_(pickle) {}

  Result<std::vector<PickledTensor>> run() {
    while (!stopped_) {
      const size_t opcode_at = bytes_.position();
      Status status = step();
      if (!status.ok()) return at("byte " + std::to_string(opcode_at), status.error());
    }
    if (bytes_.left() > 0) {
      return invalid(std::to_string(bytes_.left()) + " bytes after the end of the pickle");
    }
    return tensors_of_result();
  }

 private:
  // ------------------------------------------------------------------------------------------- the stack

  Status push(Kind kind, int64_t data = 0) {
    if (stack_.size() >= Limits::kStack) {
      return invalid("more than " + std::to_string(Limits::kStack) + " values on the stack");
    }
    stack_.push_back({kind, data});
    return {};
  }

  // Values above the topmost mark belong to who opened it.
  size_t open() const { return stack_.size() - (marks_.empty() ? 0 : marks_.back()); }

  Result<Value> pop() {
    if (open() == 0) return invalid("takes a value where none is");
    const Value value = stack_.back();
    stack_.pop_back();
    return value;
  }

  Result<Value> pop(Kind kind, const char* what) {
    FATHOM_ASSIGN(const Value value, pop());
    FATHOM_TRY(expect(value, kind, what));
    return value;
  }

  static Status expect(const Value& value, Kind kind, const char* what) {
    if (value.kind == kind) return {};
    return invalid(std::string(what) + " is " + name_of(value.kind) + ", expected " + name_of(kind));
  }

  // The values since the topmost mark, which is taken away.
  Result<std::vector<Value>> pop_marked() {
    if (marks_.empty()) return invalid("closes a mark where none is open");
    const auto from = stack_.begin() + static_cast<std::ptrdiff_t>(marks_.back());
    std::vector<Value> values(from, stack_.end());
    stack_.erase(from, stack_.end());
    marks_.pop_back();
    return values;
  }

  template <class T>
  Status push_object(Kind kind, std::vector<T>& list, T object) {
    if (list.size() >= Limits::kObjects) {
      return invalid("more than " + std::to_string(Limits::kObjects) + " values of one kind, here " +
                     name_of(kind));
    }
    list.push_back(std::move(object));
    return push(kind, static_cast<int64_t>(list.size() - 1));
  }

  Status push_tuple(size_t count) {
    std::vector<Value> values(count);
    for (size_t i = count; i > 0; --i) {
      FATHOM_ASSIGN(values[i - 1], pop());
    }
    return push_object(Kind::kTuple, tuples_, std::move(values));
  }

  // -------------------------------------------------------------------------------------------- the memo

  // Writers number entries one after another, so the memo cannot outgrow the pickle.
  Status remember(uint64_t index) {
    if (index != memo_.size()) {
      return invalid("sets memo entry " + std::to_string(index) + ", expected the next one, " +
                     std::to_string(memo_.size()));
    }
    if (index >= Limits::kMemo) {
      return invalid("more than " + std::to_string(Limits::kMemo) + " memo entries");
    }
    if (open() == 0) return invalid("remembers a value where none is");
    memo_.push_back(stack_.back());
    return {};
  }

  Status recall(uint64_t index) {
    if (index >= memo_.size()) {
      return invalid("reads memo entry " + std::to_string(index) + ", which is not set");
    }
    return push(memo_[index].kind, memo_[index].data);
  }

  // ----------------------------------------------------------------------------------------- the objects

  Status push_global() {
    FATHOM_ASSIGN(const std::string_view module, bytes_.take_line());
    FATHOM_ASSIGN(const std::string_view function, bytes_.take_line());
    const std::string name = std::string(module) + "." + std::string(function);
    for (size_t i = 0; i < kGlobals.size(); ++i) {
      if (kGlobals[i].name == name) return push(Kind::kGlobal, static_cast<int64_t>(i));
    }
    return invalid("global " + in_quotes(name) + " is not allowed in a state dict");
  }

  const AllowedGlobal& global(const Value& value) const { return kGlobals[static_cast<size_t>(value.data)]; }
  const std::vector<Value>& tuple(int64_t index) const { return tuples_[static_cast<size_t>(index)]; }
  std::string_view text(const Value& value) const { return texts_[static_cast<size_t>(value.data)]; }

  static Result<uint64_t> count_of(const Value& value, const char* what) {
    FATHOM_TRY(expect(value, Kind::kInt, what));
    if (value.data < 0) return invalid(std::string(what) + " is " + std::to_string(value.data));
    return static_cast<uint64_t>(value.data);
  }

  // A reference outside the pickle: ("storage", type, key, device, elements).
  Status push_storage() {
    FATHOM_ASSIGN(const Value id, pop(Kind::kTuple, "a persistent id"));
    const std::vector<Value>& parts = tuple(id.data);
    if (parts.size() != 5) {
      return invalid("a persistent id has " + std::to_string(parts.size()) + " parts, expected 5");
    }
    FATHOM_TRY(expect(parts[0], Kind::kText, "the kind of a persistent id"));
    if (text(parts[0]) != "storage") {
      return invalid("a persistent id of kind " + in_quotes(text(parts[0])) + ", expected \"storage\"");
    }
    FATHOM_TRY(expect(parts[1], Kind::kGlobal, "the type of a storage"));
    const AllowedGlobal& type = global(parts[1]);
    if (type.global != Global::kStorageType) {
      return invalid("the type of a storage is " + in_quotes(type.name));
    }
    if (!type.dtype) return not_supported("storage type " + in_quotes(type.name) + " is not supported");
    FATHOM_TRY(expect(parts[2], Kind::kText, "the key of a storage"));
    if (text(parts[2]).size() > TensorFileLimits::kNameBytes) {
      return invalid("the key of a storage has " + std::to_string(text(parts[2]).size()) +
                     " bytes, more than the limit of " + std::to_string(TensorFileLimits::kNameBytes));
    }
    FATHOM_TRY(expect(parts[3], Kind::kText, "the device of a storage"));
    FATHOM_ASSIGN(const uint64_t elements, count_of(parts[4], "the size of a storage"));
    return push_object(Kind::kStorage, storages_, Storage{text(parts[2]), *type.dtype, elements});
  }

  // (storage, offset, shape, strides, requires_grad, hooks[, metadata])
  Status push_tensor(const std::vector<Value>& arguments) {
    if (arguments.size() != 6 && arguments.size() != 7) {
      return invalid("a tensor is made of " + std::to_string(arguments.size()) +
                     " arguments, expected 6 or 7");
    }
    FATHOM_TRY(expect(arguments[0], Kind::kStorage, "the storage of a tensor"));
    FATHOM_ASSIGN(const uint64_t offset, count_of(arguments[1], "the offset of a tensor"));
    FATHOM_TRY(expect(arguments[2], Kind::kTuple, "the shape of a tensor"));
    FATHOM_TRY(expect(arguments[3], Kind::kTuple, "the strides of a tensor"));
    if (tuple(arguments[2].data).size() != tuple(arguments[3].data).size()) {
      return invalid("a tensor has " + std::to_string(tuple(arguments[2].data).size()) + " extents and " +
                     std::to_string(tuple(arguments[3].data).size()) + " strides");
    }
    // Any number of tensors may have the same tuples, so they are bounded before each tensor reads them.
    if (tuple(arguments[2].data).size() > TensorFileLimits::kRank) {
      return invalid("a tensor has " + std::to_string(tuple(arguments[2].data).size()) +
                     " dimensions, more than the limit of " + std::to_string(TensorFileLimits::kRank));
    }
    for (const Value& list : {arguments[2], arguments[3]}) {
      for (const Value& entry : tuple(list.data)) {
        FATHOM_TRY(count_of(entry, "an extent or stride of a tensor"));
      }
    }
    return push_object(Kind::kTensor, tensors_,
                       Tensor{arguments[0].data, offset, arguments[2].data, arguments[3].data});
  }

  Status call() {
    FATHOM_ASSIGN(const Value packed, pop(Kind::kTuple, "the argument list of a call"));
    FATHOM_ASSIGN(const Value callee, pop(Kind::kGlobal, "what is called"));
    const std::vector<Value>& arguments = tuple(packed.data);
    switch (global(callee).global) {
      case Global::kOrderedDict:
        if (!arguments.empty()) return invalid("an OrderedDict is made of arguments, expected none");
        return push_object(Kind::kDict, dicts_, {});
      case Global::kRebuildTensor:
        return push_tensor(arguments);
      case Global::kRebuildParameter:
        if (arguments.size() != 3) {
          return invalid("a parameter is made of " + std::to_string(arguments.size()) +
                         " arguments, expected 3");
        }
        FATHOM_TRY(expect(arguments[0], Kind::kTensor, "the data of a parameter"));
        return push(Kind::kTensor, arguments[0].data);
      case Global::kStorageType:
        break;
    }
    return invalid("calls " + in_quotes(global(callee).name) + ", which only names a type");
  }

  // The attributes of an OrderedDict (torch puts version numbers there) are of no use here.
  Status build() {
    FATHOM_TRY(pop(Kind::kDict, "a state"));
    if (open() == 0) return invalid("gives a state where no value is");
    return expect(stack_.back(), Kind::kDict, "what is given a state");
  }

  // Keys and values alternate.
  Status set_items(const std::vector<Value>& items) {
    if (open() == 0) return invalid("adds to a dict where none is");
    FATHOM_TRY(expect(stack_.back(), Kind::kDict, "what items are added to"));
    if (items.size() % 2 != 0) return invalid("adds a key without a value");
    std::vector<Value>& dict = dicts_[static_cast<size_t>(stack_.back().data)];
    for (size_t i = 0; i < items.size(); i += 2) {
      FATHOM_TRY(expect(items[i], Kind::kText, "a key of a dict"));
      dict.push_back(items[i]);
      dict.push_back(items[i + 1]);
    }
    return {};
  }

  // ----------------------------------------------------------------------------------------- the opcodes

  Status step() {
    FATHOM_ASSIGN(const uint64_t opcode, bytes_.take_number(1));
    switch (opcode) {
      case 0x80: {  // PROTO
        FATHOM_ASSIGN(const uint64_t protocol, bytes_.take_number(1));
        if (protocol == 2) return {};
        return invalid("pickle protocol " + std::to_string(protocol) + ", expected 2");
      }
      case '(':  // MARK
        if (marks_.size() >= Limits::kMarks) {
          return invalid("more than " + std::to_string(Limits::kMarks) + " open marks");
        }
        marks_.push_back(stack_.size());
        return {};
      case '.': {  // STOP
        if (stack_.size() != 1 || !marks_.empty()) {
          return invalid("the pickle ends with " + std::to_string(stack_.size()) +
                         " values on the stack, expected one");
        }
        stopped_ = true;
        return {};
      }
      case 'N':  // NONE
        return push(Kind::kNone);
      case 0x88:  // NEWTRUE
      case 0x89:  // NEWFALSE
        return push(Kind::kBool, opcode == 0x88 ? 1 : 0);
      case 'K':    // BININT1
      case 'M':    // BININT2
      case 'J': {  // BININT
        FATHOM_ASSIGN(const uint64_t value, bytes_.take_number(opcode == 'K' ? 1 : opcode == 'M' ? 2 : 4));
        return push(Kind::kInt,
                    opcode == 'J' ? int64_t{static_cast<int32_t>(value)} : static_cast<int64_t>(value));
      }
      case 0x8a:  // LONG1
        return push_long();
      case 'X': {  // BINUNICODE
        FATHOM_ASSIGN(const uint64_t length, bytes_.take_number(4));
        FATHOM_ASSIGN(const std::string_view characters, bytes_.take(length));
        return push_object(Kind::kText, texts_, characters);
      }
      case ')':   // EMPTY_TUPLE
      case 0x85:  // TUPLE1
      case 0x86:  // TUPLE2
      case 0x87:  // TUPLE3
        return push_tuple(opcode == ')' ? 0 : opcode - 0x84);
      case 't': {  // TUPLE
        FATHOM_ASSIGN(std::vector<Value> values, pop_marked());
        return push_object(Kind::kTuple, tuples_, std::move(values));
      }
      case '}':  // EMPTY_DICT
        return push_object(Kind::kDict, dicts_, {});
      case 's': {  // SETITEM
        FATHOM_ASSIGN(const Value value, pop());
        FATHOM_ASSIGN(const Value key, pop());
        return set_items({key, value});
      }
      case 'u': {  // SETITEMS
        FATHOM_ASSIGN(const std::vector<Value> items, pop_marked());
        return set_items(items);
      }
      case 'q':    // BINPUT
      case 'r': {  // LONG_BINPUT
        FATHOM_ASSIGN(const uint64_t index, bytes_.take_number(opcode == 'q' ? 1 : 4));
        return remember(index);
      }
      case 'h':    // BINGET
      case 'j': {  // LONG_BINGET
        FATHOM_ASSIGN(const uint64_t index, bytes_.take_number(opcode == 'h' ? 1 : 4));
        return recall(index);
      }
      case 'c':  // GLOBAL
        return push_global();
      case 'R':  // REDUCE
        return call();
      case 'b':  // BUILD
        return build();
      case 'Q':  // BINPERSID
        return push_storage();
      default:
        break;
    }
    std::array<char, 8> hexadecimal = {};
    std::snprintf(hexadecimal.data(), hexadecimal.size(), "0x%02x", static_cast<unsigned>(opcode));
    return invalid(std::string("opcode ") + hexadecimal.data() + " is not allowed in a state dict");
  }

  // A signed integer of up to eight bytes.
  Status push_long() {
    FATHOM_ASSIGN(const uint64_t length, bytes_.take_number(1));
    if (length > 8) {
      return invalid("an integer of " + std::to_string(length) + " bytes, expected at most 8");
    }
    FATHOM_ASSIGN(uint64_t value, bytes_.take_number(static_cast<int>(length)));
    if (length > 0 && length < 8 && (value >> (8 * length - 1)) != 0) value |= ~uint64_t{0} << (8 * length);
    return push(Kind::kInt, static_cast<int64_t>(value));
  }

  // ------------------------------------------------------------------------------------------ the result

  Result<std::vector<PickledTensor>> tensors_of_result() const {
    if (stack_.front().kind != Kind::kDict) {
      return invalid(std::string("the pickle is ") + name_of(stack_.front().kind) +
                     ", expected a dict of tensors");
    }
    const std::vector<Value>& dict = dicts_[static_cast<size_t>(stack_.front().data)];
    std::vector<PickledTensor> out;
    std::unordered_set<std::string_view> names;
    for (size_t i = 0; i < dict.size(); i += 2) {
      const std::string_view name = text(dict[i]);
      if (!names.insert(name).second) return invalid("tensor " + in_quotes(name) + " is there twice");
      if (dict[i + 1].kind != Kind::kTensor) {
        return invalid("entry " + in_quotes(name) + " is " + name_of(dict[i + 1].kind) +
                       ", expected a tensor");
      }
      const Tensor& tensor = tensors_[static_cast<size_t>(dict[i + 1].data)];
      const Storage& storage = storages_[static_cast<size_t>(tensor.storage)];
      PickledTensor& read = out.emplace_back(PickledTensor{
          std::string(name), storage.key, storage.dtype, storage.elements, tensor.offset, {}, {}});
      for (const Value& extent : tuple(tensor.shape)) read.shape.push_back(extent.data);
      for (const Value& stride : tuple(tensor.strides)) read.strides.push_back(stride.data);
    }
    return out;
  }

  Bytes bytes_;
  bool stopped_ = false;
  std::vector<Value> stack_, memo_;
  std::vector<size_t> marks_;  // heights of the stack
  std::vector<std::string_view> texts_;
  std::vector<std::vector<Value>> tuples_, dicts_;
  std::vector<Storage> storages_;
  std::vector<Tensor> tensors_;
};

}  // namespace

Result<std::vector<PickledTensor>> read_state_dict(std::span<const uint8_t> pickle) {
  if (pickle.size() > Limits::kBytes) {
    return invalid("the pickle has " + std::to_string(pickle.size()) + " bytes, more than the limit of " +
                   std::to_string(Limits::kBytes));
  }
  return Interpreter(pickle).run();
}

}  // namespace fathom
