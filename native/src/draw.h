// Drawing or scoring one code from a clip's logits.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/kernels.h"
#include "samplewise/engine.h"

namespace samplewise {

struct Drawn {
  int code = 0;
  double log_prob = 0.0;  // of the code at temperature 1, nats
  double residual = 0.0;  // where `uniform` lies within the interval of the code, in [0, 1)
};

// The element of a clip's sample in the arrays of a chunk.
size_t IndexOf(const Chunk& chunk, int clip, int sample);

// The code that is given for this sample; negative: it is drawn.
int32_t ForcedCode(const Chunk& chunk, int clip, int sample);

// Draws with the temperature and min_p of the chunk. logits: (q,)
Drawn DrawCode(const Kernels& kernels, const Chunk& chunk, size_t index, const float* logits, int q,
               double uniform);

// The same for a code that is given; log_prob is computed only if the chunk wants it.
Drawn ScoreCode(const Kernels& kernels, const Chunk& chunk, const float* logits, int q, int code);

// Writes one sample to the chunk's output arrays. logits: (n_logits,)
void StoreSample(const Chunk& chunk, size_t index, int32_t code, double log_prob,
                 const float* logits, int n_logits);

}  // namespace samplewise
