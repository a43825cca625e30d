#if !defined(__AVX2__) || !defined(__FMA__) || !defined(__F16C__)
#error "kernels_avx2.cc needs -mavx2 -mfma -mf16c"
#endif
#include <immintrin.h>

#define SAMPLEWISE_ISA Isa::kAvx2
#define SAMPLEWISE_ISA_NAME "avx2"
#define SAMPLEWISE_TABLE kAvx2Kernels
#define SAMPLEWISE_VECTORS "kernels/vectors_avx2.inc"
#include "kernels/body.inc"
