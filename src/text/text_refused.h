// What ends the encoding of a text that a tokenizer cannot get through: its patterns would take too many
// steps on it, or its normalizer would make too much of it. The text and the tokenizer both come from
// outside, so this is no broken invariant; the message is one sentence, for whoever asked for the ids.
#pragma once

#include <stdexcept>

namespace fathom::text {

class TextRefused : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

}  // namespace fathom::text
