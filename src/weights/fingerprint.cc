#include "weights/fingerprint.h"

#include <algorithm>

#include "io/sha256.h"
#include "plan/spec_io.h"

namespace fathom {

std::string fingerprint_of(const ModelPlan& plan, const Weights& weights) {
  constexpr int64_t kBytes = 1024;  // at the start and in the middle of each array
  Sha256 hash;
  const auto add = [&](const void* data, int64_t bytes) {
    hash.update({static_cast<const uint8_t*>(data), static_cast<size_t>(bytes)});
  };
  const std::string config = write_config_json(plan.spec);
  add(config.data(), static_cast<int64_t>(config.size()));
  for (size_t p = 0; p < plan.params.size(); ++p) {
    const Weights::Array& array = weights.at(static_cast<int32_t>(p));
    const int64_t columns = plan.params[p].shape.back(), rows = elements_of(plan.params[p]) / columns;
    const int64_t bytes = rows * row_bytes(array.type, columns);
    const auto* data = static_cast<const uint8_t*>(array.data);
    const auto type = static_cast<uint8_t>(array.type);
    add(&type, 1);
    add(data, std::min(bytes, kBytes));
    if (bytes > kBytes) add(data + bytes / 2, std::min(bytes - bytes / 2, kBytes));
    if (array.scale != nullptr)
      add(array.scale, std::min(plan.params[p].shape.front() * size_of(DType::kF32), kBytes));
    if (array.groups != nullptr)
      add(array.groups,
          std::min(rows * int4::groups_of(columns, array.group) * size_of(DType::kU16), kBytes));
  }
  return to_hex(hash.finish());
}

}  // namespace fathom
