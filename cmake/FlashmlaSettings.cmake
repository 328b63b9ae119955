# Settings that every target shares, and the CUDA language where it is wanted and found.
include(GNUInstallDirs)

if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND CMAKE_CXX_COMPILER_VERSION VERSION_LESS 12)
  message(FATAL_ERROR "FlashMLA needs g++ 12 or later, or Clang; this is g++ "
                      "${CMAKE_CXX_COMPILER_VERSION}")
endif()

set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_CXX_VISIBILITY_PRESET hidden)
set(CMAKE_VISIBILITY_INLINES_HIDDEN ON)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
if(NOT CMAKE_BUILD_TYPE AND NOT CMAKE_CONFIGURATION_TYPES)
  set(CMAKE_BUILD_TYPE Release)
endif()

find_program(FLASHMLA_CCACHE ccache)
if(FLASHMLA_CCACHE AND NOT CMAKE_CXX_COMPILER_LAUNCHER)
  # ccache keeps what includes a precompiled header only when it is told not to mind the time.
  set(CMAKE_CXX_COMPILER_LAUNCHER
      ${CMAKE_COMMAND} -E env CCACHE_SLOPPINESS=pch_defines,time_macros ${FLASHMLA_CCACHE})
endif()

set(FLASHMLA_HAS_CUDA OFF)
if(NOT FLASHMLA_CUDA STREQUAL "OFF")
  # CMake looks on the PATH alone, where NVIDIA's installer does not put nvcc.
  find_program(FLASHMLA_NVCC nvcc PATHS /usr/local/cuda/bin)
  if(FLASHMLA_NVCC AND NOT CMAKE_CUDA_COMPILER AND NOT DEFINED ENV{CUDACXX})
    set(ENV{CUDACXX} ${FLASHMLA_NVCC})
  endif()
  include(CheckLanguage)
  check_language(CUDA)
  if(CMAKE_CUDA_COMPILER)
    set(CMAKE_CUDA_ARCHITECTURES 90a-real)
    enable_language(CUDA)
    # NOTE: CUDA takes over CMAKE_CXX_STANDARD, but CMake 3.25 does not know nvcc's flag for it.
    if(NOT CMAKE_CUDA20_STANDARD_COMPILE_OPTION)
      set(CMAKE_CUDA20_STANDARD_COMPILE_OPTION -std=c++20)
      set(CMAKE_CUDA20_EXTENSION_COMPILE_OPTION -std=c++20)
    endif()
    find_package(CUDAToolkit REQUIRED)
    set(CMAKE_CUDA_VISIBILITY_PRESET hidden)
    set(FLASHMLA_HAS_CUDA ON)
  elseif(FLASHMLA_CUDA STREQUAL "ON")
    message(FATAL_ERROR "FLASHMLA_CUDA is ON, but no CUDA compiler (nvcc) was found")
  else()
    message(STATUS "FlashMLA: no nvcc found, CUDA sources are skipped")
  endif()
endif()

# Warnings are for our own targets alone: linked privately, never exported.
add_library(flashmla_warnings INTERFACE)
target_compile_options(flashmla_warnings INTERFACE
  $<$<COMPILE_LANGUAGE:CXX>:-Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wno-sign-conversion>)
if(FLASHMLA_FUZZ)  # coverage of our own code guides the fuzzer
  target_compile_options(flashmla_warnings INTERFACE -fsanitize=fuzzer-no-link)
endif()
if(FLASHMLA_SANITIZE)
  target_compile_options(flashmla_warnings INTERFACE
    $<$<COMPILE_LANGUAGE:CXX>:-fsanitize=${FLASHMLA_SANITIZE} -fno-sanitize-recover=all
                              -fno-omit-frame-pointer>)
  target_link_options(flashmla_warnings INTERFACE -fsanitize=${FLASHMLA_SANITIZE})
endif()
