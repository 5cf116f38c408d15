// A page of depths: nothing of a text becomes markup, and its figures add up.
#include "cli/depth_page.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <utility>
#include <vector>

namespace fathom::cli {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

DepthPage page_of(std::vector<DepthPage::Token> tokens) {
  return {.model = "runs/<mor>",
          .routing = "threshold (causal)",
          .most_passes = 3,
          .flops_share = 0.625,
          .tokens = std::move(tokens)};
}

TEST(DepthPage, TextIsEscaped) {
  const std::string html = draw_depth_page(
      page_of({{"<script>", 1, 0.05F, {}}, {"a & \"b\"\n", 3, 0.09F, 0.5F}, {"\x01", 2, 0, {}}}));
  EXPECT_THAT(html, Not(HasSubstr("<script>")));
  EXPECT_THAT(html, HasSubstr("&lt;script&gt;</span>"));
  EXPECT_THAT(html, HasSubstr(">a &amp; &quot;b&quot;\n</span>"));
  EXPECT_THAT(html,
              HasSubstr("title=\"token &quot;a &amp; &quot;b&quot;\\n&quot;, depth 3 of 3, score 0.0900, "
                        "margin +0.500\""));
  EXPECT_THAT(html, HasSubstr("runs/&lt;mor&gt;"));
  EXPECT_THAT(html, Not(HasSubstr("\x01")));
  for (const char* outside : {"http:", "https:", "src=", "href=", "url(", "@import"})
    EXPECT_THAT(html, Not(HasSubstr(outside)));
}

TEST(DepthPage, CountsAddUp) {
  const DepthPage page = page_of({{"a", 1, 0, {}}, {"b", 3, 0, {}}, {"", 1, 0, {}}, {"\u00e9", 2, 0, {}}});
  EXPECT_EQ(page.histogram(), (std::vector<int64_t>{0, 2, 1, 1}));
  EXPECT_DOUBLE_EQ(page.mean_depth(), 1.75);
  const std::string html = draw_depth_page(page);
  EXPECT_THAT(html, HasSubstr("4 tokens, routing threshold (causal), mean depth 1.750 of 3, 62.5 % of the"));
  EXPECT_THAT(html, HasSubstr("<td>depth 1</td><td>2</td><td>50.0 %</td>"));
  EXPECT_THAT(html, Not(HasSubstr("depth 0")));
  size_t spans = 0;
  for (size_t at = 0; (at = html.find("<span class=\"d", at)) != std::string::npos; ++at) ++spans;
  EXPECT_EQ(spans, 4U);
  EXPECT_THAT(html, HasSubstr("\u25AB</span>"));  // of the token without text
}

}  // namespace
}  // namespace fathom::cli
