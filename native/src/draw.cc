#include "draw.h"

#include <algorithm>

#include "size.h"

namespace samplewise {

size_t IndexOf(const Chunk& chunk, int clip, int sample) {
  return Size(clip) * Size(chunk.samples) + Size(sample);
}

int32_t ForcedCode(const Chunk& chunk, int clip, int sample) {
  return chunk.forced == nullptr ? -1 : chunk.forced[IndexOf(chunk, clip, sample)];
}

Drawn DrawCode(const Kernels& kernels, const Chunk& chunk, size_t index, const float* logits, int q,
               double uniform) {
  const double temperature = chunk.temperature == nullptr ? 1.0 : chunk.temperature[index];
  Drawn drawn;
  drawn.code =
      kernels.draw(logits, q, temperature, uniform, &drawn.log_prob, &drawn.residual, chunk.min_p);
  return drawn;
}

Drawn ScoreCode(const Kernels& kernels, const Chunk& chunk, const float* logits, int q, int code) {
  return {code, chunk.log_probs == nullptr ? 0.0 : kernels.log_prob(logits, q, code)};
}

void StoreSample(const Chunk& chunk, size_t index, int32_t code, double log_prob,
                 const float* logits, int n_logits) {
  if (chunk.codes != nullptr) chunk.codes[index] = code;
  if (chunk.log_probs != nullptr) chunk.log_probs[index] = log_prob;
  if (chunk.logits != nullptr) {
    std::copy_n(logits, n_logits, chunk.logits + index * Size(n_logits));
  }
}

}  // namespace samplewise
