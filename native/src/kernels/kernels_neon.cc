#if !defined(__ARM_FEATURE_DOTPROD) || defined(__ARM_FEATURE_MATMUL_INT8)
#error "kernels_neon.cc needs -march=armv8.2-a+dotprod"
#endif
#include <arm_neon.h>

#define SAMPLEWISE_ISA Isa::kNeon
#define SAMPLEWISE_ISA_NAME "neon"
#define SAMPLEWISE_TABLE kNeonKernels
#define SAMPLEWISE_VECTORS "kernels/vectors_neon.inc"
#include "kernels/body.inc"
