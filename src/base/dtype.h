// Element types of stored tensors.
#pragma once

#include <cstdint>
#include <string_view>

namespace fathom {

enum class DType : uint8_t { kF32, kBF16, kF16, kI64, kI32, kU16, kU8, kF64, kI8, kI4 };

constexpr int64_t size_of(DType type) {
  switch (type) {
    case DType::kF64:
    case DType::kI64:
      return 8;
    case DType::kF32:
    case DType::kI32:
      return 4;
    case DType::kBF16:
    case DType::kF16:
    case DType::kU16:
      return 2;
    case DType::kU8:
    case DType::kI8:
      return 1;
    case DType::kI4:  // no whole bytes: base/int4.h
      return 0;
  }
  return 0;
}

// "f32", "bf16", ...: the words used by flags and printed tables.
constexpr std::string_view name_of(DType type) {
  switch (type) {
    case DType::kF32:
      return "f32";
    case DType::kBF16:
      return "bf16";
    case DType::kF16:
      return "f16";
    case DType::kI64:
      return "i64";
    case DType::kI32:
      return "i32";
    case DType::kU16:
      return "u16";
    case DType::kU8:
      return "u8";
    case DType::kF64:
      return "f64";
    case DType::kI8:
      return "int8";
    case DType::kI4:
      return "int4";
  }
  return "?";
}

}  // namespace fathom
