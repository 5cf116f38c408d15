#include "text/jinja_text.h"

#include <gmock/gmock.h>

namespace fathom::text {
namespace {

using ::testing::ElementsAre;

TEST(JinjaText, LineBreaksAndBlanksAreThoseThatComeOut) {
  EXPECT_THAT(read_jinja_text("a\n{% if x %}\n  b {{ y }}\nc\n{%- endif -%}\n d\n").pieces,
              ElementsAre("a\n", "  b ", "\nc", "d"));
  EXPECT_THAT(read_jinja_text("  {% x %}  {% y %}\n  {{ z }} {% x %}{#- n -#} e").pieces,
              ElementsAre("  ", "  ", " ", "e"));
  EXPECT_THAT(read_jinja_text("a\n  {%+ x %}\n\nb").pieces, ElementsAre("a\n  ", "\nb"));
}

TEST(JinjaText, StringsAreReadInsideTags) {
  EXPECT_THAT(
      read_jinja_text(R"({{ 'a\n' + "it's }}" ~ {'k': {}}['\'q\\'] }}{% set x = '' %}{# 'no' #})").pieces,
      ElementsAre("a\n", "it's }}", "k", "'q\\"));
}

TEST(JinjaText, WhatDoesNotEndGoesToTheEnd) {
  for (const char* jinja : {"{{", "{%", "{#", "{{ 'a", "{{ 'a\\", "{%-", "{{ a }", "{", "{{-", "{# a #"})
    EXPECT_LE(read_jinja_text(jinja).pieces.size(), 1U) << jinja;
  EXPECT_THAT(read_jinja_text("a{").pieces, ElementsAre("a{"));
}

TEST(JinjaText, TheFirstTokenIsFirstOrElsewhere) {
  const auto told = [](const char* jinja) {
    const JinjaText text = read_jinja_text(jinja);
    return std::pair(text.begins_with_bos, text.names_bos_elsewhere);
  };
  const std::pair first(true, false), elsewhere(false, true), nowhere(false, false);
  EXPECT_EQ(told("{{ bos_token }}{% if x %}a{% endif %}"), first);
  EXPECT_EQ(told("{% if x %}{% set y = 1 %}{% endif %}\n{{- bos_token -}}"), first);
  EXPECT_EQ(told("{{ bos_token + 'a' }}"), first);
  EXPECT_EQ(told("{{ bos_token }}{{ bos_token }}"), std::pair(true, true));
  EXPECT_EQ(told("{% if x %}{{ bos_token }}{% endif %}"), elsewhere);
  EXPECT_EQ(told("a{{ bos_token }}"), elsewhere);
  EXPECT_EQ(told("{{ bos_token if x }}"), elsewhere);
  EXPECT_EQ(told("{% set a = bos_token %}"), elsewhere);
  EXPECT_EQ(told("bos_token {{ 'bos_token' }}{{ bos_tokens }}{# bos_token #}"), nowhere);
}

}  // namespace
}  // namespace fathom::text
