// What `fathom inspect --depths` does: a text through a routed model, and the page that shows how deep each
// token went.
#pragma once

#include <string>

#include "base/result.h"

namespace fathom::cli {

struct DepthsRequest {
  std::string model, text;
  bool top_k = false;  // else the causal rule
  int threads = 0;     // 0: all cores
  std::string out;     // the HTML file, which appears whole or not at all
};

// Errors: no model there or none with a router, a text without tokens or longer than the model's context.
Status inspect_depths(const DepthsRequest& request);

}  // namespace fathom::cli
