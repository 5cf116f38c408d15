# fathom_library(NAME <name> SOURCES ... [DEPS ...] [TESTS ...] [BENCHES ...] [TEST_DEPS ...] [TEST_LABELS ...])
#
# One folder of src/ is one target `fathom_<name>`. DEPS are the folders (or imported targets) it may include; the
# layering test reads the same edges from the includes. Each file of TESTS becomes one GoogleTest binary
# `<file without .cc>`, each file of BENCHES one Google Benchmark binary.
function(fathom_library)
  cmake_parse_arguments(ARG "" "NAME" "SOURCES;DEPS;TESTS;BENCHES;TEST_DEPS;TEST_LABELS" ${ARGN})
  set(target fathom_${ARG_NAME})
  add_library(${target} STATIC ${ARG_SOURCES})
  target_link_libraries(${target} PUBLIC fathom_options ${ARG_DEPS})
  foreach(test ${ARG_TESTS})
    fathom_test(SOURCE ${test} DEPS ${target} ${ARG_TEST_DEPS} LABELS ${ARG_NAME} ${ARG_TEST_LABELS})
  endforeach()
  foreach(bench ${ARG_BENCHES})
    fathom_bench(SOURCE ${bench} DEPS ${target})
  endforeach()
endfunction()

# fathom_test(SOURCE file.cc [DEPS ...] [LABELS ...]): one binary, its cases registered with ctest.
function(fathom_test)
  cmake_parse_arguments(ARG "" "SOURCE" "DEPS;LABELS" ${ARGN})
  if(NOT FATHOM_TESTS)
    return()
  endif()
  get_filename_component(name ${ARG_SOURCE} NAME_WE)
  add_executable(${name} ${ARG_SOURCE})
  target_link_libraries(${name} PRIVATE ${ARG_DEPS} GTest::gtest_main GTest::gmock)
  target_compile_definitions(${name} PRIVATE FATHOM_SOURCE_DIR="${CMAKE_SOURCE_DIR}"
                                             FATHOM_BIN_DIR="${CMAKE_RUNTIME_OUTPUT_DIRECTORY}")
  gtest_discover_tests(${name} TEST_PREFIX "${name}:" DISCOVERY_TIMEOUT 60
                       PROPERTIES LABELS "${ARG_LABELS}" TIMEOUT 600)
endfunction()

# fathom_bench(SOURCE file.cc [DEPS ...]): a Google Benchmark binary; built with -DFATHOM_BENCHES=ON, never run by ctest.
function(fathom_bench)
  cmake_parse_arguments(ARG "" "SOURCE" "DEPS" ${ARGN})
  if(NOT FATHOM_BENCHES)
    return()
  endif()
  get_filename_component(name ${ARG_SOURCE} NAME_WE)
  add_executable(${name} ${ARG_SOURCE})
  target_link_libraries(${name} PRIVATE ${ARG_DEPS} benchmark::benchmark)
endfunction()
