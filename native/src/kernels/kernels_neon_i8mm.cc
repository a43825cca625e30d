#if !defined(__ARM_FEATURE_DOTPROD) || !defined(__ARM_FEATURE_MATMUL_INT8)
#error "kernels_neon_i8mm.cc needs -march=armv8.2-a+dotprod+i8mm"
#endif
#include <arm_neon.h>

#define SAMPLEWISE_ISA Isa::kNeonI8mm
#define SAMPLEWISE_ISA_NAME "neon-i8mm"
#define SAMPLEWISE_TABLE kNeonI8mmKernels
#define SAMPLEWISE_VECTORS "kernels/vectors_neon.inc"
#include "kernels/body.inc"
