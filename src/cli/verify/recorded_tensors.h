// The tensors of a recorded case, read whole: small; floats, or ids in int64, int32 or bytes.
#pragma once

#include <map>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"
#include "io/safetensors.h"

namespace fathom::cli::verify {

struct RecordedTensor {
  std::vector<int64_t> shape;
  std::vector<float> values;  // float tensors
  std::vector<int64_t> ids;   // tensors of int64, int32 or uint8
  int64_t extent(size_t dimension) const { return dimension < shape.size() ? shape[dimension] : 1; }
  int64_t elements() const;
  // The part of entry b of the first dimension.
  std::span<const float> part(int64_t b) const;
};

class RecordedTensors {
 public:
  static Result<RecordedTensors> read(const std::string& path);

  bool has(const std::string& name) const { return tensors_.contains(name); }
  // Must be there (FATHOM_CHECK otherwise: callers ask has() or require() first). Marks the tensor as looked
  // at.
  const RecordedTensor& at(const std::string& name);
  Result<const RecordedTensor*> require(const std::string& name);
  // Must be there with this shape; extents of -1 may be anything.
  Status expect(const std::string& name, const std::vector<int64_t>& shape) const;
  const std::map<std::string, RecordedTensor>& all() const { return tensors_; }

  // Counts a tensor as dealt with, without looking at it.
  void mark(const std::string& name) { seen_.insert(name); }
  // Names that nobody looked at: a case holds something this program does not know.
  std::vector<std::string> unseen() const;

 private:
  std::string path_;
  std::map<std::string, RecordedTensor> tensors_;
  std::set<std::string> seen_;
};

}  // namespace fathom::cli::verify
