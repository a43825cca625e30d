// The end of a SampleRNN and of a WaveNet: an MLP, its softmax and the draw.
#pragma once

#include <cstdint>
#include <vector>

#include "draw.h"
#include "linear_predictor.h"
#include "mixture.h"
#include "packing.h"
#include "partition.h"
#include "size.h"
#include "thread_team.h"

namespace samplewise {

// outputs = output relu(hidden relu(x)): logits of codes, or a mixture of logistics or Gaussians
struct PackedMlp {
  PackedMlp() = default;
  // values: (q,), the real value of each code, for Gaussians.
  PackedMlp(const MlpSpec& spec, int dim, int q_levels, Format format,
            std::span<const float> values = {});
  // Adds a logistic distribution around a prediction to the logits.
  void AddLogistic(const LinearPredictorSpec& spec);

  int dim = 0;
  int q_levels = 0;
  int components = 0;  // of a mixture; 0: logits of codes
  int outputs = 0;     // q, or 3 * components
  Floats values;       // (q,): of each code, for Gaussians; else empty
  PackedMatrix hidden;
  Floats hidden_bias;  // (padded dim)
  PackedMatrix output;
  Floats output_bias;    // (padded q)
  Floats logistic;       // (2, padded dim): place and log scale; empty without a prediction
  Floats logistic_bias;  // (2,)
  Floats codes;          // (q,): 0, 1, ...; empty without a prediction
};

// How the active threads divide a block of samples: each has its own rows of all matrices, for all
// clips; or its own clips, with all rows.
struct Division {
  bool by_clip = false;
  int batch = 0;
  Range clips;   // of this thread; all clips if threads divide rows
  Range units;   // blocks of hidden units
  Range output;  // panels of the MLP's output
};

// Memory that all threads see.
struct MlpWorkspace {
  MlpWorkspace(const PackedMlp& weights, int max_batch, int threads);

  Partition output;            // panels
  Floats hidden;               // (batch, padded dim)
  Floats logits;               // (batch, padded q)
  std::vector<int32_t> drawn;  // (batch,)
};

// One thread's part.
class MlpStepper {
 public:
  MlpStepper(const PackedMlp& weights, MlpWorkspace& shared, const Kernels& kernels,
             ThreadTeam& team, int max_batch, int thread);

  // x of a clip, after relu. x: (padded dim,)
  void SetInput(const Division& division, int clip, const float* x);
  // The prediction of a clip's sample, for a model with a linear predictor.
  void SetPrediction(int clip, PredictedPlace prediction) { predictions_[Size(clip)] = prediction; }
  // Computes the logits of all clips, then draws or scores one code for each. codes: (batch,), out
  // where a code is drawn. Called by all threads after SetInput of their clips.
  void Run(const Division& division, const Chunk& chunk, int sample, std::vector<int32_t>& codes);

 private:
  void Hidden(const Division& division);
  void Logits(const Division& division);
  struct Logistic {
    float place;      // in codes
    float log_scale;  // of the scale in codes
  };

  void MoveLogistic(int clip);
  const float* MoveMixture(int clip, const float* outputs);
  void Draw(const Chunk& chunk, int sample, int clip, bool store, std::vector<int32_t>& codes);

  const PackedMlp& weights_;
  MlpWorkspace& shared_;
  const Kernels& kernels_;
  ThreadTeam& team_;
  const int thread_;
  const size_t padded_;                      // dim, whole panels
  PackedInput input_;                        // (dim,) for every clip
  std::vector<PredictedPlace> predictions_;  // (batch,)
  std::vector<Logistic> logistics_;          // (batch,)
  Floats with_logistic_;                     // (q,): logits of the clip that is drawn
  LogisticMixture logistic_mixture_;
  GaussianMixture gaussian_mixture_;
  Floats moved_;  // (3 * components,): around the prediction
};

// Whether samples need logits: not if all codes are given and nothing else is wanted.
inline bool NeedsLogits(const Chunk& chunk) {
  return chunk.forced == nullptr || chunk.log_probs != nullptr || chunk.logits != nullptr;
}

// Copies the codes that are given for this sample. codes: (batch,)
void LoadForced(const Chunk& chunk, int sample, Range clips, std::vector<int32_t>& codes);

}  // namespace samplewise
