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

# fathom_test(SOURCE file.cc [DEPS ...] [LABELS ...]): one binary, its cases registered with ctest. LibTorch's threads
# sleep instead of spinning between products: ctest runs several binaries at once, and spinning ones starve each other
# (ten times slower, measured).
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
  set_property(GLOBAL APPEND PROPERTY FATHOM_TEST_SOURCES ${CMAKE_CURRENT_SOURCE_DIR}/${ARG_SOURCE})
  gtest_discover_tests(${name} TEST_PREFIX "${name}:" DISCOVERY_TIMEOUT 60
                       PROPERTIES LABELS "${ARG_LABELS}" TIMEOUT 600 ENVIRONMENT OMP_WAIT_POLICY=passive)
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

# A file of tests that no target builds would look like a test and never fail.
function(fathom_require_listed_tests)
  get_property(listed GLOBAL PROPERTY FATHOM_TEST_SOURCES)
  file(GLOB_RECURSE written RELATIVE ${CMAKE_SOURCE_DIR} CONFIGURE_DEPENDS
       ${CMAKE_SOURCE_DIR}/src/*_test.cc ${CMAKE_SOURCE_DIR}/tests/*_test.cc)
  if(NOT FATHOM_TRAIN)
    list(FILTER written EXCLUDE REGEX "^src/train/|^tests/(resume|train)/|/train_[^/]*$")
  endif()
  foreach(test ${written})
    if(NOT ${CMAKE_SOURCE_DIR}/${test} IN_LIST listed)
      message(FATAL_ERROR "${test} is built by no target: add it to the TESTS of its folder's CMakeLists.txt")
    endif()
  endforeach()
endfunction()
