#include "base/json.h"

#include <algorithm>
#include <cstring>
#include <iterator>
#include <optional>
#include <vector>

#include "base/file.h"
#include "base/sentence.h"

namespace fathom {

namespace {

using nlohmann::json;

// Walks the text and leaves its place where the handler of parse events can see it.
class TrackingIterator {
 public:
  using iterator_category = std::input_iterator_tag;
  using value_type = char;
  using difference_type = std::ptrdiff_t;
  using pointer = const char*;
  using reference = const char&;

  TrackingIterator(const char* at, const char** reached) : at_(at), reached_(reached) {}
  reference operator*() const { return *at_; }
  TrackingIterator& operator++() {
    *reached_ = ++at_;
    return *this;
  }
  TrackingIterator operator++(int) {
    TrackingIterator before = *this;
    ++*this;
    return before;
  }
  friend bool operator==(const TrackingIterator& a, const TrackingIterator& b) { return a.at_ == b.at_; }
  friend bool operator!=(const TrackingIterator& a, const TrackingIterator& b) { return a.at_ != b.at_; }

 private:
  const char* at_;
  const char** reached_;
};

std::string place(std::string_view text, size_t offset) {
  size_t line = 1, column = 1;
  for (size_t i = 0; i < std::min(offset, text.size()); ++i) {
    if (text[i] == '\n') {
      ++line;
      column = 1;
    } else {
      ++column;
    }
  }
  return "line " + std::to_string(line) + ", column " + std::to_string(column) + ": ";
}

// The library's sentence without its own prefix and without the text last read, which may be anything.
std::string sentence_of(const std::string& what) {
  size_t begin = what.find("column ");
  begin = begin == std::string::npos ? std::string::npos : what.find(": ", begin);
  if (begin == std::string::npos) begin = what.find("] ") == std::string::npos ? 0 : what.find("] ");
  std::string sentence = what.substr(begin + 2);
  const size_t last_read = sentence.find("; last read: '");
  if (last_read != std::string::npos) {
    const size_t quote = sentence.rfind('\'');
    const size_t expected = sentence.find("; expected ", quote);
    sentence = sentence.substr(0, last_read) +
               (expected == std::string::npos ? std::string() : sentence.substr(expected));
  }
  return sentence;
}

// Builds the value from parse events, refusing duplicate keys and anything beyond the limits.
class Builder {
 public:
  Builder(std::string_view text, const JsonLimits& limits, const std::vector<JsonMembers>& members,
          const char* const* reached)
      : text_(text), limits_(limits), members_(members), reached_(reached) {}

  bool null() { return put(nullptr); }
  bool boolean(bool value) { return put(value); }
  bool number_integer(json::number_integer_t value) { return put(value); }
  bool number_unsigned(json::number_unsigned_t value) { return put(value); }
  bool number_float(json::number_float_t value, const std::string&) { return put(value); }
  bool string(std::string& value) { return put(std::move(value)); }
  bool binary(json::binary_t&) { return fail("binary values are not JSON"); }
  bool start_object(size_t) { return open(json::object()); }
  bool start_array(size_t) { return open(json::array()); }
  bool end_object() { return close(); }
  bool end_array() { return close(); }

  bool key(std::string& name) {
    if (open_.back().taken) {
      key_ = std::move(name);
      return true;
    }
    auto& object = open_.back().value->get_ref<json::object_t&>();
    const auto [slot, added] = object.emplace(std::move(name), nullptr);
    if (!added) return fail("duplicate key " + in_quotes(slot->first));
    slot_ = &slot->second;
    slot_name_ = &slot->first;
    return true;
  }

  bool parse_error(size_t position, const std::string&, const nlohmann::detail::exception& error) {
    error_ = place(text_, position == 0 ? 0 : position - 1) + sentence_of(error.what());
    return false;
  }

  const std::optional<std::string>& error() const { return error_; }
  json take() { return std::move(root_); }

 private:
  // An object or array that is being filled; its parent does not grow meanwhile.
  struct Open {
    json* value;
    const JsonMembers* taken;  // where its members go, if they do not stay
    const std::string* name;   // in an object
  };

  // Where the value lies; null if it was refused.
  json* place_of(json value) {
    if (++values_ > limits_.max_values) {
      fail("more than the limit of " + std::to_string(limits_.max_values) + " values");
      return nullptr;
    }
    json* place = &root_;
    if (!open_.empty()) {
      Open& parent = open_.back();
      if (parent.taken) {
        place = &member_;
      } else if (parent.value->is_array()) {
        parent.value->push_back(std::move(value));
        return &parent.value->back();
      } else {
        place = slot_;
      }
    }
    *place = std::move(value);
    return place;
  }

  bool put(json value) {
    if (place_of(std::move(value)) == nullptr) return false;
    hand_over();
    return true;
  }

  // A member that is complete, to where its parent's go.
  void hand_over() {
    if (open_.empty() || !open_.back().taken) return;
    if (open_.back().value->is_array()) key_.clear();
    open_.back().taken->take(key_, member_);
  }

  bool open(json empty) {
    if (static_cast<int>(open_.size()) >= limits_.max_depth) {
      return fail("nested deeper than the limit of " + std::to_string(limits_.max_depth));
    }
    const bool named = !open_.empty() && !open_.back().taken && open_.back().value->is_object();
    json* container = place_of(std::move(empty));
    if (container == nullptr) return false;
    open_.push_back({container, nullptr, named ? slot_name_ : nullptr});
    open_.back().taken = taken_from_here();
    return true;
  }

  // What asked for the members of the innermost container.
  const JsonMembers* taken_from_here() const {
    for (const JsonMembers& members : members_) {
      if (members.path.size() + 1 != open_.size()) continue;
      bool here = true;
      for (size_t i = 0; i < members.path.size() && here; ++i) {
        here = open_[i + 1].name != nullptr && *open_[i + 1].name == members.path[i];
      }
      if (here) return &members;
    }
    return nullptr;
  }

  bool close() {
    open_.pop_back();
    hand_over();
    return true;
  }

  bool fail(const std::string& sentence) {
    const auto reached = static_cast<size_t>(*reached_ - text_.data());
    error_ = place(text_, reached == 0 ? 0 : reached - 1) + sentence;
    return false;
  }

  std::string_view text_;
  const JsonLimits& limits_;
  const std::vector<JsonMembers>& members_;
  const char* const* reached_;
  json root_;
  std::vector<Open> open_;
  json* slot_ = nullptr;  // of the key read last, in an object whose members stay
  const std::string* slot_name_ = nullptr;
  std::string key_;  // the same, in one whose members go
  json member_;
  uint64_t values_ = 0;
  std::optional<std::string> error_;
};

}  // namespace

Result<json> parse_json(std::string_view text, const JsonLimits& limits,
                        const std::vector<JsonMembers>& members) {
  if (text.size() > limits.max_bytes) {
    return invalid("JSON of " + std::to_string(text.size()) + " bytes exceeds the limit of " +
                   std::to_string(limits.max_bytes));
  }
  // The parser takes a byte order mark for white space and a zero byte for the end: both hide content.
  if (text.starts_with("\xef\xbb\xbf")) return invalid("line 1, column 1: a byte order mark is not JSON");
  if (const size_t zero = text.find('\0'); zero != std::string_view::npos) {
    return invalid(place(text, zero) + "a zero byte is not JSON");
  }
  const char* reached = text.data();
  Builder builder(text, limits, members, &reached);
  const TrackingIterator first(text.data(), &reached), last(text.data() + text.size(), &reached);
  if (!json::sax_parse(first, last, &builder)) return invalid(*builder.error());
  return builder.take();
}

Result<json> read_json_file(const std::string& path, const JsonLimits& limits) {
  FATHOM_ASSIGN(const std::string text, read_file(path, limits.max_bytes));
  Result<json> value = parse_json(text, limits);
  if (!value.ok()) return at(path, std::move(value).error());
  return value;
}

std::string kind_of(const json& value) {
  switch (value.type()) {
    case json::value_t::null:
      return "null";
    case json::value_t::boolean:
      return "a boolean";
    case json::value_t::string:
      return "a string";
    case json::value_t::array:
      return "an array";
    case json::value_t::object:
      return "an object";
    case json::value_t::number_float:
      return "a number with fraction or exponent";
    case json::value_t::number_integer:
      return value.get<int64_t>() < 0 ? "a negative integer" : "an integer";
    default:
      return "an integer";
  }
}

}  // namespace fathom
