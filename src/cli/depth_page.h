// A text with each token in the colour of its recursion depth, as a page that needs nothing else to be shown.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace fathom::cli {

struct DepthPage {
  struct Token {
    std::string text;  // UTF-8; empty where a character goes on in the next token
    int depth = 0;     // passes made
    float score = 0;   // router weight of the last pass
    // Causal expert choice: logit less threshold of the last decision, below 0 where the token was stopped.
    std::optional<float> margin;
  };
  std::string model, routing;
  int most_passes = 0;
  double flops_share = 1;  // of what the same tokens cost at full depth
  std::vector<Token> tokens;

  std::vector<int64_t> histogram() const;  // [most_passes + 1] tokens of each depth
  double mean_depth() const;
};

// The whole HTML file; there is a token at least. Nothing of the text is taken for markup.
std::string draw_depth_page(const DepthPage& page);

}  // namespace fathom::cli
