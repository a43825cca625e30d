// Conditioning vectors, of a spectrogram or a class, each in force for some samples.
#pragma once

#include <cstdint>

#include "kernels/kernels.h"
#include "matrix.h"
#include "partition.h"
#include "samplewise/engine.h"

namespace samplewise {

struct ConditioningSize {
  // Throws std::invalid_argument if a size is impossible.
  void Check() const;
  // Chosen: maps of conditioning vectors are never in 8 bits. They are read once in `hold` samples,
  // and their inputs have no bounded range as h has.
  static Format FormatOfMaps(Format format) {
    return format == Format::kF32 ? Format::kF32 : Format::kF16;
  }

  int width = 0;  // of a vector; 0: the model is not conditioned
  int hold = 1;   // samples that share a vector
};

// The vectors in force, as the input of a product; one per thread.
class ConditioningInput {
 public:
  ConditioningInput(ConditioningSize size, int max_batch, Format format);

  // Makes the next Take take the vectors again.
  void Forget() { is_taken_ = false; }
  // Takes the vectors of `clips` at sample `sample` of the chunk, which is sample `clock` of the
  // clips. Returns whether they are others than before.
  bool Take(const Kernels& kernels, const Chunk& chunk, int sample, int64_t clock, Range clips);
  // (width,) for each of the clips.
  const PackedInput& vectors() const { return vectors_; }

 private:
  ConditioningSize size_;
  bool is_taken_ = false;
  PackedInput vectors_;
};

}  // namespace samplewise
