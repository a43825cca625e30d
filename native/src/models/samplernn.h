// SampleRNN (Mehri et al. 2017), a sample at a time.
//
// The RNN baseline (Eqs. 2-3) is the same with one tier: its frames are single codes, looked up in
// a table, and its MLP sees no window of codes.
#pragma once

#include <string>
#include <vector>

#include "conditioning.h"
#include "history.h"
#include "linear_predictor.h"
#include "mlp.h"
#include "packing.h"
#include "partition.h"
#include "samplewise/engine.h"
#include "thread_team.h"

namespace samplewise {

class SampleRnnWorkspace;
class SampleRnnStepper;

struct PackedRecurrentLayer {
  PackedMatrix input;      // from the layer below; empty in the first layer
  PackedMatrix recurrent;  // of all gates; kGru: of r and z
  PackedMatrix candidate;  // kGru: of n alone, as it multiplies r h
  Floats bias;             // (blocks, gates, 32)
  Floats candidate_bias;   // (padded dim); kGruResetAfter
  PackedMatrix skip;       // (dim, dim)
};

struct PackedTier {
  std::vector<const PackedMatrix*> matrices() const;

  int frame_size = 0;
  int ratio = 0;           // conditions for the tier below that one step makes
  Floats frame;            // (blocks, FS, x_layers * gates * 32)
  Floats codes;            // (q, blocks, x_layers * gates * 32); replaces `frame`
  PackedMatrix above;      // (blocks, x_layers * gates * 32) rows; empty in the top tier
  PackedMatrix condition;  // (blocks, x_layers * gates * 32) rows; empty if not conditioned
  std::vector<PackedRecurrentLayer> layers;
  Floats h0;                           // (n_rnn, state width)
  Floats skip_bias;                    // (padded dim)
  std::vector<PackedMatrix> upsample;  // one (dim, dim) map for each condition
  Floats upsample_bias;                // (ratio, padded dim)
};

class PackedSampleRnn {
 public:
  using Workspace = SampleRnnWorkspace;
  using Stepper = SampleRnnStepper;

  PackedSampleRnn(const SampleRnnSpec& spec, int q_levels, Format format);

  int logits() const { return mlp.outputs; }
  int lookback() const;  // codes of the past that a step needs
  int useful_threads(int max_batch) const;
  std::vector<MatrixUse> matrices() const;
  // For each tier, tier 2 first: h, LSTM: and c, (n_rnn, batch, state width); then the conditions
  // that it left for the tier below, (ratio, batch, condition width).
  // With a linear predictor its array is the last.
  std::vector<StateArray> InitialState(int batch) const;

  int padded() const { return blocks * kPanelRows; }
  int state_width() const { return padded() * (cell == Cell::kLstm ? 2 : 1); }
  // Floats of a tier's condition for one clip: for tier 2 the vector that the MLP adds, for others
  // its product with the input maps of the tier below.
  int condition_width(size_t tier) const { return tier == 0 ? padded() : blocks * input_width(); }
  // Floats that a block's gates take from the tier's input.
  int input_width() const { return x_layers * gates * kPanelRows; }

  Format format;
  ConditioningSize conditioning;
  Cell cell;
  int dim;
  int q_levels;
  int blocks;  // of kPanelRows hidden units
  int gates;   // 3, LSTM 4
  int n_rnn;   // layers of each tier
  bool skip;
  int x_layers;  // layers that see the tier's input: with skip connections all, else the first
  int window;    // FS(1); 0: the MLP sees no codes
  Floats real_values;             // (q,)
  std::vector<PackedTier> tiers;  // tier 2 first
  Floats table;                   // (window, q, padded dim)
  Floats window_map;              // (window, padded dim), of real values; replaces `table`
  PackedMlp mlp;
  PackedLinearPredictor predictor;

 private:
  PackedTier PackTier(const TierSpec& spec, const std::string& name, int below, bool is_top) const;
  PackedRecurrentLayer PackLayer(const TierSpec& spec, const std::string& tier, int layer) const;
};

// Memory that all threads see. Rows are written by their owner alone, and read by other threads
// after the next barrier.
class SampleRnnWorkspace {
 public:
  SampleRnnWorkspace(const PackedSampleRnn& weights, const Kernels& kernels, ThreadTeam& team,
                     int max_batch);

  void Load(const State& state);
  void Store(State& state) const;

  struct Tier {
    Floats h[2];    // (n_rnn, batch, padded): before and after a step, in turn
    Floats c;       // (n_rnn, batch, padded): LSTM
    Floats reset;   // (batch, padded): r h
    Floats output;  // (batch, padded): sum of skip connections
    Floats inputs;  // (batch, blocks, x_layers * gates * 32): from the tier's input to its gates
    Floats x;       // (batch, blocks, gates * 32): from a layer's input to its gates
    Floats u;       // (batch, blocks, gates * 32): recurrent products
    Floats conditions;    // (ratio, batch, padded): upsampled; in tier 2 read by the MLP
    Floats above;         // (ratio, batch, condition width): read by the tier below
    Floats conditioning;  // (batch, blocks, x_layers * gates * 32): from the vectors in force
    int latest = 0;       // which h is the latest, between two blocks of samples
  };

  const PackedSampleRnn& weights;
  const Kernels& kernels;
  ThreadTeam& team;
  const int max_batch;
  Partition units;  // blocks of hidden units
  std::vector<Tier> tiers;
  MlpWorkspace mlp;
};

// One thread's part of a step.
class SampleRnnStepper {
 public:
  SampleRnnStepper(SampleRnnWorkspace& shared, int thread);

  // Runs samples [begin, end) of `chunk`; all `active` threads call it with the same arguments.
  void Run(State& state, const Chunk& chunk, int begin, int end, int active);

 private:
  void Condition();
  void RunTier(size_t index);
  void TierInputs(size_t index);
  void LoadFrame(const int32_t* codes, int size);
  void RunLayer(size_t index, size_t layer);
  void LayerInputs(size_t index, size_t layer);
  void Gates(size_t index, size_t layer);
  void ResetBefore(size_t index, size_t layer);
  void TierOutputs(size_t index);
  void Conditions(size_t index, const float* output);
  void SampleLevel(const Chunk& chunk, int sample);
  void SetAll(const float* vectors);
  float* Previous(size_t index, size_t layer) const;  // h before this step
  float* Next(size_t index, size_t layer) const;      // h after it

  SampleRnnWorkspace& shared_;
  const PackedSampleRnn& weights_;
  const Kernels& kernels_;
  ThreadTeam& team_;
  const int thread_;
  const int above_batch_;  // vectors that a tier's `above` multiplies together
  LinearPredictor predictor_;
  Division division_;
  int batch_ = 0;
  Range units_;
  History history_;
  ConditioningInput conditioning_;
  MlpStepper mlp_;
  PackedInput input_;           // (dim,) for every clip
  PackedInput above_input_;     // (dim,) for above_batch_ conditions
  Floats frame_;                // (FS,) real values
  Floats features_;             // (features,) of the linear predictor
  Floats sums_;                 // (padded,)
  Floats zeros_;                // (padded,)
  Floats products_;             // (batch, padded)
  std::vector<int> latest_;     // for each tier: which h is the latest
  std::vector<int32_t> codes_;  // (batch,) of this sample
};

}  // namespace samplewise
