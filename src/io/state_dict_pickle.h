// The pickle of a state dict as torch.save writes it: an interpreter that knows the few opcodes and the few
// globals such a file needs, builds values of its own and runs nothing. Whatever else a pickle can say is
// refused by name.
//
// Opcodes: protocol 2, without those for lists, floats, objects and extensions. Globals:
// collections.OrderedDict, torch._utils._rebuild_tensor_v2, torch._utils._rebuild_parameter, and the typed
// storages of torch.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/dtype.h"
#include "base/result.h"

namespace fathom {

// A tensor as the pickle describes it; nothing here is checked against the data. Refers into the pickle.
struct PickledTensor {
  std::string name;
  std::string_view storage;             // key of the storage, inside the pickle; tied tensors have the same
  DType dtype = DType::kF32;            // of the storage
  uint64_t storage_elements = 0;        // of the whole storage
  uint64_t offset = 0;                  // first element
  std::vector<int64_t> shape, strides;  // of one length, at most kRank; strides in elements
};

// What a pickle may hold. One beyond these is refused.
struct PickleLimits {
  static constexpr uint64_t kBytes = uint64_t{64} << 20;
  static constexpr uint64_t kMarks = 64;           // open at a time
  static constexpr uint64_t kStack = 1'000'000;    // values
  static constexpr uint64_t kMemo = 1'000'000;     // entries
  static constexpr uint64_t kObjects = 1'000'000;  // tuples, dicts, texts, storages, tensors: of each
};

// The entries of the dict that the pickle is, in its order. Names are unique.
Result<std::vector<PickledTensor>> read_state_dict(std::span<const uint8_t> pickle);

}  // namespace fathom
