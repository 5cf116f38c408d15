// Run-time choice between the levels of a *_simd.cc file.
//
//   // in <op>_levels.h, included by both <op>_simd.cc and <op>_cpu.cc
//   FATHOM_SIMD_DECLARE(void, rms_norm_fwd_rows, (const RmsNormFwd& args, int64_t begin, int64_t end));
//
//   // in <op>_cpu.cc
//   const auto rows_fn = FATHOM_SIMD_SELECT(rms_norm_fwd_rows);
#pragma once

#include "base/isa.h"

#if defined(__x86_64__)
#define FATHOM_SIMD_DECLARE(result, name, parameters) \
  namespace portable {                                \
  result name parameters;                             \
  }                                                   \
  namespace avx2 {                                    \
  result name parameters;                             \
  }                                                   \
  namespace avx512 {                                  \
  result name parameters;                             \
  }                                                   \
  namespace avx512_bf16 {                             \
  result name parameters;                             \
  }
#define FATHOM_SIMD_SELECT(name) \
  ::fathom::kernels::select_level(portable::name, avx2::name, avx512::name, avx512_bf16::name)
#else
#define FATHOM_SIMD_DECLARE(result, name, parameters) \
  namespace portable {                                \
  result name parameters;                             \
  }
#define FATHOM_SIMD_SELECT(name) (&portable::name)
#endif

namespace fathom::kernels {

template <class Function>
Function* select_level(Function* portable, Function* avx2, Function* avx512, Function* avx512_bf16) {
  switch (isa_level()) {
    case IsaLevel::kPortable:
      return portable;
    case IsaLevel::kAvx2:
      return avx2;
    case IsaLevel::kAvx512:
      return avx512;
    case IsaLevel::kAvx512Bf16:
      return avx512_bf16;
  }
  return portable;
}

}  // namespace fathom::kernels
