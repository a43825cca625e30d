// WaveRNN (Kalchbrenner et al. 2018, section 2, Fig. 1), a sample in two stages.
//
// R h is one product. The coarse half of the gates needs only the last code; from it O1 and O2 make
// the coarse 8 bits, which the fine half of the gates needs. What remains of the random number
// after the coarse draw decides the fine draw.
#pragma once

#include <vector>

#include "conditioning.h"
#include "draw.h"
#include "history.h"
#include "packing.h"
#include "partition.h"
#include "samplewise/engine.h"
#include "thread_team.h"

namespace samplewise {

class WaveRnnWorkspace;
class WaveRnnStepper;

enum Stage { kCoarse = 0, kFine = 1 };
inline constexpr int kStageLevels = 256;  // codes of each stage

// One half of the units: for the coarse 8 bits or for the fine ones.
struct PackedHalf {
  Floats columns;       // (blocks, 2 or 3, gates * 32): of c_(t-1), f_(t-1); fine: c_t
  PackedMatrix hidden;  // (half, half): O1 or O3
  Floats hidden_bias;   // (padded half)
  PackedMatrix output;  // (256, half): O2 or O4
  Floats output_bias;   // (256)
};

// The units are those of the coarse half, padded to whole panels, then those of the fine half.
class PackedWaveRnn {
 public:
  using Workspace = WaveRnnWorkspace;
  using Stepper = WaveRnnStepper;

  PackedWaveRnn(const WaveRnnSpec& spec, int q_levels, Format format);

  int logits() const { return 2 * kStageLevels; }
  int lookback() const { return 1; }  // codes of the past that a step needs
  int useful_threads(int) const { return 2 * blocks; }
  std::vector<MatrixUse> matrices() const;
  std::vector<StateArray> InitialState(int batch) const;  // h, (1, batch, padded)

  int padded() const { return 2 * padded_half(); }
  int padded_half() const { return blocks * kPanelRows; }
  bool is_conditioned() const { return conditioning.width > 0; }

  Format format;
  ConditioningSize conditioning;
  int half;                // units
  int blocks;              // of a half
  PackedMatrix recurrent;  // R: (2 * blocks, gates * 32) rows, padded columns
  Floats bias;             // (2 * blocks, gates * 32)
  Floats candidate_bias;   // (padded)
  PackedHalf halves[2];    // by Stage
  PackedMatrix condition;  // (2 * blocks, gates * 32) rows; empty if not conditioned
  Floats h0;               // (padded)
};

// Memory that all threads see. Rows are written by their owner alone, and read by other threads
// after the next barrier.
class WaveRnnWorkspace {
 public:
  WaveRnnWorkspace(const PackedWaveRnn& weights, const Kernels& kernels, ThreadTeam& team,
                   int max_batch);

  void Load(const State& state);
  void Store(State& state) const;

  // Each half is divided among the threads by itself, because they meet between the halves.
  struct Half {
    Partition units;   // blocks, counted over both halves
    Partition hidden;  // panels
    Partition output;  // panels
  };

  const PackedWaveRnn& weights;
  const Kernels& kernels;
  ThreadTeam& team;
  const int max_batch;
  Half halves[2];              // by Stage
  Floats h[2];                 // (batch, padded): before and after a step, in turn
  int latest = 0;              // which h is the latest, between two blocks of samples
  Floats u;                    // (batch, 2 * blocks, gates * 32): R h
  Floats bias;                 // (batch, 2 * blocks, gates * 32): with the conditioning
  Floats hidden;               // (batch, padded half)
  Floats logits;               // (batch, 2, 256)
  std::vector<int32_t> drawn;  // (batch,)
};

// One thread's part of a step.
class WaveRnnStepper {
 public:
  WaveRnnStepper(WaveRnnWorkspace& shared, int thread);

  // Runs samples [begin, end) of `chunk`; all `active` threads call it with the same arguments.
  void Run(State& state, const Chunk& chunk, int begin, int end, int active);

 private:
  void Step(const Chunk& chunk, int sample, bool needs_logits);
  void LoadForcedCodes(const Chunk& chunk, int sample);
  void Condition();
  void Recurrent(int first, int last);
  void Gates(Stage stage);
  void Hidden(Stage stage);
  void Logits(Stage stage);
  void DrawAll(const Chunk& chunk, int sample, Stage stage);
  void Draw(const Chunk& chunk, int sample, Stage stage, int clip);

  WaveRnnWorkspace& shared_;
  const PackedWaveRnn& weights_;
  const Kernels& kernels_;
  ThreadTeam& team_;
  const int thread_;
  int batch_ = 0;
  struct Half {
    Range units;   // blocks, counted over both halves
    Range hidden;  // panels
    Range output;  // panels
  };
  Half halves_[2];  // by Stage
  int latest_ = 0;  // which h is the latest
  History history_;
  PackedInput input_;       // h, (padded,) for every clip
  PackedInput half_input_;  // (half,) for every clip
  ConditioningInput conditioning_;
  std::vector<int32_t> coarse_;    // (batch,) coarse codes of this sample
  std::vector<int32_t> codes_;     // (batch,) codes of this sample
  std::vector<double> residual_;   // (batch,) of the random number, after the coarse draw
  std::vector<double> log_probs_;  // (batch,) of this sample so far
};

}  // namespace samplewise
