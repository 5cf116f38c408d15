// Errors at the edges of the program: a value, or one sentence that says what is wrong.
//
// Anything that reads the outside world (files, flags, specs) returns Result<T>. The message names the thing,
// what was found and what was expected, e.g. "model.safetensors: header length 5 GB exceeds the limit of 100
// MB". Broken invariants inside the program are not Results: see base/check.h.
#pragma once

#include <optional>
#include <string>
#include <utility>
#include <variant>

#include "base/sentence.h"

namespace fathom {

// Why an operation failed. `kNotSupported` is kept apart because the command line answers it with its own
// exit code ("not supported yet: X"); `kUsage`, flags that contradict each other, for the same reason;
// `kCancelled` because an interrupted run is not a fault.
enum class ErrorKind { kInvalid, kNotFound, kIo, kNotSupported, kUsage, kCancelled };

struct Error {
  std::string message;
  ErrorKind kind = ErrorKind::kInvalid;
};

// The message becomes one line, whatever names from outside it holds.
inline Error make_error(std::string message, ErrorKind kind) { return {one_line(std::move(message)), kind}; }
inline Error invalid(std::string message) { return make_error(std::move(message), ErrorKind::kInvalid); }
inline Error not_found(std::string message) { return make_error(std::move(message), ErrorKind::kNotFound); }
inline Error io_error(std::string message) { return make_error(std::move(message), ErrorKind::kIo); }
inline Error not_supported(std::string message) {
  return make_error(std::move(message), ErrorKind::kNotSupported);
}
inline Error wrong_usage(std::string message) { return make_error(std::move(message), ErrorKind::kUsage); }

// Puts the place in front of the sentence: at("config.json", e) -> "config.json: ...".
inline Error at(const std::string& where, Error error) {
  error.message = where + ": " + error.message;
  return error;
}

template <class T>
class [[nodiscard]] Result {
 public:
  Result(T value)
      : state_(std::in_place_index<0>, std::move(value)) {}  // NOLINT(google-explicit-constructor)
  Result(Error error)
      : state_(std::in_place_index<1>, std::move(error)) {}  // NOLINT(google-explicit-constructor)

  bool ok() const { return state_.index() == 0; }
  explicit operator bool() const { return ok(); }
  T& value() & { return std::get<0>(state_); }
  const T& value() const& { return std::get<0>(state_); }
  T&& value() && { return std::get<0>(std::move(state_)); }
  T& operator*() & { return value(); }
  const T& operator*() const& { return value(); }
  T* operator->() { return &value(); }
  const T* operator->() const { return &value(); }
  const Error& error() const& { return std::get<1>(state_); }
  Error&& error() && { return std::get<1>(std::move(state_)); }

 private:
  std::variant<T, Error> state_;
};

template <>
class [[nodiscard]] Result<void> {
 public:
  Result() = default;
  Result(Error error) : error_(std::move(error)) {}  // NOLINT(google-explicit-constructor)

  bool ok() const { return !error_.has_value(); }
  explicit operator bool() const { return ok(); }
  const Error& error() const& { return *error_; }
  Error&& error() && { return *std::move(error_); }

 private:
  std::optional<Error> error_;
};

using Status = Result<void>;

}  // namespace fathom

// FATHOM_TRY(status_expr);            returns the error to the caller
// FATHOM_ASSIGN(auto x, result_expr); declares x, or returns the error
#define FATHOM_CONCAT_(a, b) a##b
#define FATHOM_CONCAT(a, b) FATHOM_CONCAT_(a, b)
#define FATHOM_TRY(expr)                                                \
  do {                                                                  \
    auto fathom_status_ = (expr);                                       \
    if (!fathom_status_.ok()) return std::move(fathom_status_).error(); \
  } while (false)
#define FATHOM_ASSIGN(declaration, expr)                               \
  auto FATHOM_CONCAT(fathom_result_, __LINE__) = (expr);               \
  if (!FATHOM_CONCAT(fathom_result_, __LINE__).ok())                   \
    return std::move(FATHOM_CONCAT(fathom_result_, __LINE__)).error(); \
  declaration = std::move(FATHOM_CONCAT(fathom_result_, __LINE__)).value()
