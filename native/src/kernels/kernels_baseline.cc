#if defined(__SSE2__)
#include <emmintrin.h>
#endif

#define SAMPLEWISE_ISA Isa::kBaseline
#define SAMPLEWISE_ISA_NAME "baseline"
#define SAMPLEWISE_TABLE kBaselineKernels
#define SAMPLEWISE_VECTORS "kernels/vectors_baseline.inc"
#include "kernels/body.inc"
