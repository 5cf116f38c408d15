#include "text/pattern_dialect.h"

namespace fathom::text {

namespace {

class Translator {
 public:
  explicit Translator(std::string_view pattern) : pattern_(pattern) {}

  Result<std::string> run() {
    while (at_ < pattern_.size()) FATHOM_TRY(step());
    if (in_class_) return refuse("has a character class without its closing bracket");
    return std::move(out_);
  }

 private:
  Error refuse(const std::string& what) const {
    return not_supported("pattern \"" + std::string(pattern_) + "\" " + what);
  }

  bool starts_with(std::string_view prefix) const { return pattern_.substr(at_).starts_with(prefix); }

  void copy(size_t count) {
    out_ += pattern_.substr(at_, count);
    at_ += count;
  }

  Status step() {
    const char c = pattern_[at_];
    if (c == '\\') return escape();
    return in_class_ ? class_member(c) : outside(c);
  }

  Status outside(char c) {
    if (c == '[') {
      in_class_ = true;
      copy(1);
      if (starts_with("^")) copy(1);
      if (starts_with("]")) copy(1);  // a bracket in first place is a member in both dialects
      return {};
    }
    if (starts_with("(?") && sets_multiline()) {
      return refuse("uses the option (?m), which the two dialects of patterns read differently");
    }
    if (c == '}' && pattern_.substr(at_ + 1).starts_with("+")) {
      return refuse("uses {n,m}+, which is possessive only in some dialects of patterns");
    }
    copy(1);
    return {};
  }

  // Whether an option group "(?imx-imx)" or "(?imx-imx:" that starts here names m.
  bool sets_multiline() const {
    for (char c : pattern_.substr(at_ + 2)) {
      if (c == 'm') return true;
      if (c != 'i' && c != 'x' && c != '-') return false;
    }
    return false;
  }

  Status class_member(char c) {
    if (c == '[') {
      const size_t end = pattern_.find(":]", at_);
      if (!starts_with("[:") || end == std::string_view::npos) return refuse("has a class inside a class");
      copy(end + 2 - at_);
      return {};
    }
    if (starts_with("&&")) return refuse("has an intersection of classes (&&)");
    if (c == ']') in_class_ = false;
    copy(1);
    return {};
  }

  Status escape() {
    if (at_ + 1 >= pattern_.size()) return refuse("ends in a backslash");
    switch (pattern_[at_ + 1]) {
      case 's':
        return shorthand(kWhiteSpaceClass);
      case 'w':
        return shorthand(kWordClass);
      case 'd':
        return shorthand(R"(\p{Nd})");
      case 'h':
        return shorthand("0-9a-fA-F");
      case 'S':
        return complement(kWhiteSpaceClass);
      case 'W':
        return complement(kWordClass);
      case 'D':
        return complement(R"(\p{Nd})");
      case 'H':
        return complement("0-9a-fA-F");
      case 'u':
        return code_point();
      default:
        return other_escape();
    }
  }

  // The same in both dialects: \p{...}, \x{...}, \n, \A, an escaped bracket, ...
  Status other_escape() {
    size_t size = 2;
    if (pattern_.substr(at_ + 2).starts_with("{") &&
        std::string_view("pPx").find(pattern_[at_ + 1]) != std::string_view::npos) {
      const size_t close = pattern_.find('}', at_);
      if (close == std::string_view::npos) return refuse("has a { without its }");
      size = close + 1 - at_;
    }
    copy(size);
    return {};
  }

  Status shorthand(std::string_view body) {
    at_ += 2;
    if (in_class_) {
      out_ += body;
    } else {
      ((out_ += '[') += body) += ']';
    }
    return {};
  }

  Status complement(std::string_view body) {
    if (in_class_) {
      return refuse("has \\" + std::string(1, pattern_[at_ + 1]) + " inside a class");
    }
    at_ += 2;
    ((out_ += "[^") += body) += ']';
    return {};
  }

  Status code_point() {
    const std::string_view digits = pattern_.substr(at_ + 2, 4);
    if (digits.size() < 4 || digits.find_first_not_of("0123456789abcdefABCDEF") != std::string_view::npos) {
      return refuse("has \\u without four hexadecimal digits");
    }
    ((out_ += "\\x{") += digits) += '}';
    at_ += 6;
    return {};
  }

  std::string_view pattern_;
  size_t at_ = 0;
  bool in_class_ = false;
  std::string out_;
};

}  // namespace

Result<std::string> to_pcre2_pattern(std::string_view pattern) { return Translator(pattern).run(); }

}  // namespace fathom::text
