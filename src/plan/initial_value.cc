#include "plan/initial_value.h"

#include <algorithm>
#include <cmath>

#include "base/random.h"

namespace fathom {

float initial_value(const Init& init, uint64_t seed, uint64_t stream, int64_t element, int64_t columns) {
  const auto position = static_cast<uint64_t>(element);
  switch (init.kind) {
    case InitKind::kNormal:
      return static_cast<float>(init.a) * normal(seed, stream, position);
    case InitKind::kUniform:
      return static_cast<float>(init.a * (2.0 * uniform(seed, stream, position) - 1.0));
    case InitKind::kConstant:
    case InitKind::kRowNorms:
      return static_cast<float>(init.a);
    case InitKind::kLogRange:
      return static_cast<float>(std::log(static_cast<double>(element % columns + 1)));
    case InitKind::kLogUniform: {
      const double drawn = init.a + uniform(seed, stream, position) * (init.b - init.a);
      return static_cast<float>(std::log(std::max(init.floor, drawn)));
    }
    case InitKind::kInverseSoftplusDt: {
      const double drawn = uniform(seed, stream, position);
      const double dt =
          std::max(init.floor, std::exp(std::log(init.a) + drawn * (std::log(init.b) - std::log(init.a))));
      return static_cast<float>(dt + std::log(-std::expm1(-dt)));
    }
  }
  return 0;
}

}  // namespace fathom
