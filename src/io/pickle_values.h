// The values that the interpreter of a state dict's pickle knows, and the globals it allows. Private to
// state_dict_pickle.cc.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string_view>

#include "base/dtype.h"

namespace fathom::pickle {

enum class Kind : uint8_t { kNone, kBool, kInt, kText, kTuple, kDict, kGlobal, kStorage, kTensor };

inline const char* name_of(Kind kind) {
  switch (kind) {
    case Kind::kNone:
      return "None";
    case Kind::kBool:
      return "a bool";
    case Kind::kInt:
      return "an integer";
    case Kind::kText:
      return "a text";
    case Kind::kTuple:
      return "a tuple";
    case Kind::kDict:
      return "a dict";
    case Kind::kGlobal:
      return "a global";
    case Kind::kStorage:
      return "a storage";
    case Kind::kTensor:
      return "a tensor";
  }
  return "?";
}

// Values are small and flat: what they refer to lies in the interpreter's lists, so that no nesting of a
// pickle becomes a nesting of ours.
struct Value {
  Kind kind = Kind::kNone;
  int64_t data = 0;  // the integer or bool, or an index
};

enum class Global : uint8_t { kOrderedDict, kRebuildTensor, kRebuildParameter, kStorageType };

struct AllowedGlobal {
  std::string_view name;
  Global global;
  std::optional<DType> dtype;  // of a storage type; none: known, and nothing here computes with it
};

inline constexpr std::array<AllowedGlobal, 12> kGlobals = {
    {{"collections.OrderedDict", Global::kOrderedDict, {}},
     {"torch._utils._rebuild_tensor_v2", Global::kRebuildTensor, {}},
     {"torch._utils._rebuild_parameter", Global::kRebuildParameter, {}},
     {"torch.FloatStorage", Global::kStorageType, DType::kF32},
     {"torch.BFloat16Storage", Global::kStorageType, DType::kBF16},
     {"torch.HalfStorage", Global::kStorageType, DType::kF16},
     {"torch.DoubleStorage", Global::kStorageType, DType::kF64},
     {"torch.LongStorage", Global::kStorageType, DType::kI64},
     {"torch.IntStorage", Global::kStorageType, DType::kI32},
     {"torch.ByteStorage", Global::kStorageType, DType::kU8},
     {"torch.BoolStorage", Global::kStorageType, {}},
     {"torch.CharStorage", Global::kStorageType, {}}}};

}  // namespace fathom::pickle
