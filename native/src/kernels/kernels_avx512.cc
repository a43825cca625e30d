#if !defined(__AVX512F__) || !defined(__AVX512BW__) || !defined(__AVX512VL__) || \
    !defined(__AVX512DQ__) || !defined(__AVX512VNNI__)
#error "kernels_avx512.cc needs -mavx512f -mavx512bw -mavx512vl -mavx512dq -mavx512vnni"
#endif

#if !defined(__clang__)  // GCC 12 warns about the undefined vectors inside its own header
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif
#include <immintrin.h>

#define SAMPLEWISE_ISA Isa::kAvx512
#define SAMPLEWISE_ISA_NAME "avx512"
#define SAMPLEWISE_TABLE kAvx512Kernels
#define SAMPLEWISE_VECTORS "kernels/vectors_avx512.inc"
#include "kernels/body.inc"
