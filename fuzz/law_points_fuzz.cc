// Any bytes as a file of points. What is accepted can be fitted or is refused with a sentence, and a law that
// is found is one of numbers.
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "cli/plot/law_points.h"
#include "cli/plot/power_law.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace fathom::cli::plot;
  const auto curves = parse_law_points({reinterpret_cast<const char*>(data), size});
  if (!curves.ok()) {
    if (curves.error().message.empty()) std::abort();
    return 0;
  }
  for (const Curve& curve : *curves) {
    const auto fit = fit_power_law(curve.marks);
    if (!fit.ok() && fit.error().message.empty()) std::abort();
    if (fit.ok() && !(std::isfinite(fit->law.a) && fit->law.a > 0 && fit->law.c >= 0)) std::abort();
  }
  return 0;
}
