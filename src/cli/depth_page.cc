#include "cli/depth_page.h"

#include <algorithm>
#include <array>
#include <cstdio>

#include "base/check.h"
#include "cli/figures.h"
#include "cli/markup.h"

namespace fathom::cli {

namespace {

// From grey over blue and green to orange and red; half transparent, so that text of the page's own colour is
// read on them in light and dark.
constexpr std::array<const char*, 6> kPalette = {"128 128 128 / .22", "47 127 209 / .38", "46 160 67 / .38",
                                                 "214 170 0 / .45",   "232 120 20 / .48", "215 55 75 / .52"};

constexpr const char* kStyle = R"(:root { color-scheme: light dark; }
body { max-width: 60rem; margin: 2rem auto; padding: 0 1rem; background: Canvas; color: CanvasText;
  font: 15px/1.5 system-ui, sans-serif; }
h1 { font-size: 1.3rem; overflow-wrap: anywhere; }
.text { font: 15px/1.9 ui-monospace, monospace; white-space: pre-wrap; overflow-wrap: anywhere; }
.text span { border-radius: 3px; padding: 2px 0; }
.text span:hover { outline: 1px solid CanvasText; }
table { border-collapse: collapse; margin: 1rem 0; width: 100%; }
td { padding: 2px 8px 2px 0; white-space: nowrap; }
td:last-child { width: 100%; }
i { display: block; height: 1em; border-radius: 3px; }
)";

const char* color_of(int depth, int most) {
  const int steps = static_cast<int>(kPalette.size()) - 1;
  const int place = most > 1 ? (std::clamp(depth, 1, most) - 1) * steps / (most - 1) : 0;
  return kPalette[static_cast<size_t>(place)];
}

// As a tooltip shows it: on one line.
std::string on_one_line(const std::string& text) {
  std::string out;
  for (const char c : text) {
    if (c == '\n') {
      out += "\\n";
    } else if (c == '\t') {
      out += "\\t";
    } else {
      out += c;
    }
  }
  return out;
}

std::string tooltip_of(const DepthPage::Token& token, int most) {
  std::string tip = "token \"" + on_one_line(token.text) + "\", depth " + std::to_string(token.depth) +
                    " of " + std::to_string(most) + ", score " + rounded(token.score, 4);
  if (token.margin) {
    char margin[32];
    std::snprintf(margin, sizeof margin, "%+.3f", static_cast<double>(*token.margin));
    tip += std::string(", margin ") + margin;
  }
  return tip;
}

}  // namespace

std::vector<int64_t> DepthPage::histogram() const {
  std::vector<int64_t> counts(static_cast<size_t>(most_passes) + 1);
  for (const Token& token : tokens) ++counts[static_cast<size_t>(token.depth)];
  return counts;
}

double DepthPage::mean_depth() const {
  double sum = 0;
  for (const Token& token : tokens) sum += token.depth;
  return sum / static_cast<double>(tokens.size());
}

std::string draw_depth_page(const DepthPage& page) {
  FATHOM_CHECK(!page.tokens.empty(), "a page without a token");
  const int most = page.most_passes;
  const auto total = static_cast<double>(page.tokens.size());
  std::string out = "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<title>Depths: " +
                    escaped(page.model) + "</title>\n<style>\n" + kStyle;
  for (int depth = 0; depth <= most; ++depth)
    out += ".d" + std::to_string(depth) + " { background: rgb(" + color_of(depth, most) + "); }\n";
  out += "</style>\n</head>\n<body>\n<h1>Recursion depths of " + escaped(page.model) + "</h1>\n<p>" +
         std::to_string(page.tokens.size()) + " tokens, routing " + escaped(page.routing) + ", mean depth " +
         rounded(page.mean_depth(), 3) + " of " + std::to_string(most) + ", " +
         rounded(100 * page.flops_share, 1) + " % of the FLOPs of full depth</p>\n<table>\n";
  const std::vector<int64_t> counts = page.histogram();
  const double tallest = static_cast<double>(*std::ranges::max_element(counts));
  for (int depth = counts[0] > 0 ? 0 : 1; depth <= most; ++depth) {
    const auto count = static_cast<double>(counts[static_cast<size_t>(depth)]);
    out += "<tr><td>depth " + std::to_string(depth) + "</td><td>" +
           std::to_string(counts[static_cast<size_t>(depth)]) + "</td><td>" +
           rounded(100 * count / total, 1) + " %</td><td><i class=\"d" + std::to_string(depth) +
           "\" style=\"width: " + rounded(100 * count / tallest, 1) + "%\"></i></td></tr>\n";
  }
  out += "</table>\n<div class=\"text\">";
  for (const DepthPage::Token& token : page.tokens) {
    // A token without a character of its own still has a place to point at.
    out += "<span class=\"d" + std::to_string(token.depth) + "\" title=\"" +
           escaped(tooltip_of(token, most)) + "\">" + (token.text.empty() ? "\u25AB" : escaped(token.text)) +
           "</span>";
  }
  return out + "</div>\n</body>\n</html>\n";
}

}  // namespace fathom::cli
