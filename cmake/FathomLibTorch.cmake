# fathom::torch: LibTorch as tools/fetch-libtorch lays it out in .deps/, without its own CMake package (which demands a
# CUDA toolkit). Only src/train may link it; tests/layering holds the includes to that.
set(FATHOM_TORCH_DIR ${CMAKE_SOURCE_DIR}/.deps/torch-2.11.0 CACHE PATH "LibTorch, in the layout of site-packages")

set(torch_include ${FATHOM_TORCH_DIR}/torch/include)
set(torch_lib ${FATHOM_TORCH_DIR}/torch/lib)
set(nvidia_lib ${FATHOM_TORCH_DIR}/nvidia/cu13/lib)
foreach(file ${torch_include}/ATen/core/Tensor.h ${torch_lib}/libtorch_cpu.so ${torch_lib}/libc10.so
             ${torch_lib}/libgomp.so.1 ${nvidia_lib}/libcudart.so.13 ${nvidia_lib}/libcupti.so.13)
  if(NOT EXISTS ${file})
    message(FATAL_ERROR "FATHOM_TRAIN is ON but LibTorch is not there: ${file} does not exist. "
                        "Run tools/fetch-libtorch, or configure without training: cmake --preset no-train")
  endif()
endforeach()

foreach(part c10 torch_cpu)
  add_library(fathom::${part} SHARED IMPORTED)
  set_target_properties(fathom::${part} PROPERTIES IMPORTED_LOCATION ${torch_lib}/lib${part}.so)
endforeach()

add_library(fathom::torch INTERFACE IMPORTED)
target_include_directories(fathom::torch SYSTEM INTERFACE ${torch_include} ${torch_include}/torch/csrc/api/include)
target_compile_definitions(fathom::torch INTERFACE _GLIBCXX_USE_CXX11_ABI=1)
target_link_libraries(fathom::torch INTERFACE fathom::torch_cpu fathom::c10)

# libtorch_cpu.so loads CUDA's runtime and profiling interface, found by its own relative run path; the linker wants to
# see them too.
target_link_options(fathom::torch INTERFACE LINKER:-rpath-link,${torch_lib}:${nvidia_lib})

# Our run path is relative as well, so that a moved checkout still runs. CMake's own for the build tree would be
# absolute, and the one for installing is the only one that may say $ORIGIN.
file(RELATIVE_PATH torch_run_path ${CMAKE_RUNTIME_OUTPUT_DIRECTORY} ${torch_lib})
set(CMAKE_BUILD_WITH_INSTALL_RPATH ON)
set(CMAKE_INSTALL_RPATH $ORIGIN/${torch_run_path})

# ATen/Parallel.h runs at::parallel_for on one thread, silently, in a unit compiled without OpenMP: its loop is a
# template under `#ifdef _OPENMP`. fathom_aten_parallel(<target> <file>) compiles the one unit that calls it that way;
# the threads are those of the libgomp that LibTorch loads. No other unit uses OpenMP.
add_library(fathom::torch_gomp SHARED IMPORTED)
set_target_properties(fathom::torch_gomp PROPERTIES IMPORTED_LOCATION ${torch_lib}/libgomp.so.1)
function(fathom_aten_parallel target file)
  set_source_files_properties(${file} PROPERTIES COMPILE_OPTIONS -fopenmp)
  target_link_libraries(${target} PUBLIC fathom::torch_gomp)
endfunction()
