# Instruction-set levels. A file named <op>_simd.cc is compiled once per level, each time into its own namespace; the
# <op>_cpu.cc beside it chooses one at run time (src/kernels/simd/dispatch.h). Such a file includes nothing that
# defines inline functions of external linkage, so no shared symbol can carry instructions that a host lacks.
set(FATHOM_SIMD_LEVELS portable)
set(FATHOM_SIMD_FLAGS_portable "")
if(CMAKE_SYSTEM_PROCESSOR MATCHES "x86_64|AMD64")
  list(APPEND FATHOM_SIMD_LEVELS avx2 avx512 avx512_bf16)
  set(FATHOM_SIMD_FLAGS_avx2 -mavx2 -mfma -mf16c -mbmi -mbmi2)
  set(FATHOM_SIMD_FLAGS_avx512 ${FATHOM_SIMD_FLAGS_avx2} -mavx512f -mavx512bw -mavx512dq -mavx512vl
                               -mprefer-vector-width=512)
  set(FATHOM_SIMD_FLAGS_avx512_bf16 ${FATHOM_SIMD_FLAGS_avx512} -mavx512bf16 -mavx512vnni)
endif()

# Vectors are written out, so that a sanitizer finds the same at -O1, and its build does not take minutes a file.
set(FATHOM_SIMD_OPTIMISATION -O3)
if(FATHOM_SANITIZE)
  set(FATHOM_SIMD_OPTIMISATION -O1)
endif()

# fathom_simd_sources(<target> file_simd.cc ...)
function(fathom_simd_sources target)
  foreach(level ${FATHOM_SIMD_LEVELS})
    add_library(${target}_${level} OBJECT ${ARGN})
    target_include_directories(${target}_${level} PRIVATE ${CMAKE_SOURCE_DIR}/src)
    target_compile_definitions(${target}_${level} PRIVATE FATHOM_SIMD_LEVEL=${level} FATHOM_SIMD_${level}=1)
    target_compile_options(${target}_${level} PRIVATE ${FATHOM_SIMD_FLAGS_${level}} ${FATHOM_SIMD_OPTIMISATION}
                           -fno-math-errno -fno-trapping-math -ffp-contract=off -fno-exceptions -fno-rtti
                           -fno-asynchronous-unwind-tables -Wall -Wextra -Wno-psabi)
    target_sources(${target} PRIVATE $<TARGET_OBJECTS:${target}_${level}>)
  endforeach()
endfunction()
