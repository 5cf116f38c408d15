// A state dict as torch.save writes it (pytorch_model.bin): a zip file with one folder, in it `data.pkl`, a
// pickle that describes the tensors, and `data/<key>`, the bytes of each storage. Nothing of the pickle is
// executed (state_dict_pickle.h says what may stand in it), and the bytes stay in the mapped file.
//
// Tensors that share a storage, as tied weights do, have one position in the file.
#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "base/result.h"
#include "io/tensor_file.h"

namespace fathom {

class TorchArchive : public TensorFile {
 public:
  // Maps the file read-only and checks directory and pickle. The storages are not read. Refused: a file in
  // another byte order than little-endian, an absent storage or one of another size than the pickle says, a
  // tensor outside its storage or not row-major and packed.
  static Result<TorchArchive> open(const std::string& path);

  // The same checks over bytes in memory, which must outlive the object; errors carry no path.
  static Result<TorchArchive> parse(std::span<const uint8_t> bytes);

 private:
  TorchArchive() = default;
  Status read(std::span<const uint8_t> file);
};

}  // namespace fathom
