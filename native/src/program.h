// What each thread does for one sample of every voice. Shared memory is written by the owner of the
// rows, or of the voice, alone and read by others after the next barrier.
#pragma once

#include <vector>

#include "matrix.h"
#include "packed.h"
#include "samplewise/engine.h"
#include "team.h"

namespace samplewise {

// Memory that all threads see, one per engine.
class Workspace {
 public:
  Workspace(const PackedModel& model, int max_batch, int threads);

  struct Range {
    int size() const { return last - first; }
    int first;
    int last;
  };
  // Panels [first, last) of a matrix that `thread` owns when `active` threads run.
  Range Own(const Shares& shares, int thread, int active) const;

  struct Tier {
    Floats h[2];        // (n_rnn, batch, padded): before and after this step, in turn
    Floats c;           // (n_rnn, batch, padded): LSTM
    Floats reset;       // (batch, padded): r h
    Floats output;      // (batch, padded): sum of skips
    Floats inputs;      // (batch, blocks, x_layers * gates * 32): the tier's input to its gates
    Floats x;           // (batch, blocks, gates * 32): a layer's input to its gates
    Floats u;           // (batch, blocks, gates * 32): recurrent products
    Floats conditions;  // (ratio, batch, padded): upsampled; tier 2: what the sample level reads
    Floats left;        // (ratio, batch, condition width): what the tier below reads
    int now = 0;        // which h is the latest, between two blocks
  };

  const PackedModel& model;
  int threads;
  std::vector<Tier> tiers;
  Floats skips;       // (batch, padded): sum of skip connections, what the sample level reads
  Floats gated;       // (batch, layers, channels): what their gates let through
  Floats ahead[2];    // (layers, batch, 2 * padded channels): of an even and of an odd time
  Progress progress;  // of the chain of layers, in groups whose skip maps are one product
  Floats bias;        // (batch, blocks, gates * 32): WaveRNN's, conditions included
  struct Half {
    Shares units;   // blocks of the gates' units
    Shares hidden;  // panels of the maps to the logits
    Shares levels;
  };
  Half halves[2];              // of a WaveRNN
  Shares units;                // blocks of hidden units
  Shares levels;               // panels of the output
  Shares through;              // panels of the skip maps
  Floats hidden;               // (batch, padded)
  Floats logits;               // (batch, padded q)
  std::vector<int32_t> drawn;  // (batch,)
};

// One thread's part.
class Program {
 public:
  Program(Workspace& shared, Team& team, int max_batch, int thread);

  // Runs samples [begin, end) of `chunk`; `active` threads, or this one alone, do the same.
  void Run(State& state, const Chunk& chunk, int begin, int end, int active);

 private:
  void Share(const State& state, int active);
  void Load(const State& state);
  void Store(State& state) const;
  void RunTier(size_t index);
  void TierInputs(size_t index);
  void RunLayer(size_t index, size_t layer);
  void LayerInputs(size_t index, size_t layer);
  void Gates(size_t index, size_t layer);
  void ResetBefore(size_t index, size_t layer);
  void TierOutputs(size_t index);
  void Conditions(size_t index, const float* output);
  void RunWaveRnn(const Chunk& chunk, int sample, bool wanted);
  void Hear(const Chunk& chunk, int sample);
  void Recurrent(int first, int last);
  void Units(int index);
  void StageHidden(int index);
  void StageLogits(int index);
  void DrawStage(const Chunk& chunk, int sample, int index);
  void DrawVoice(const Chunk& chunk, int sample, int index, int voice);
  void RunStack(State& state, bool wanted);
  void BeginStack(const State& state);
  void LookAhead(const State& state, bool known);
  void Embed();
  void Past(const State& state, size_t index, int64_t time, float* to);
  void RunDilated(State& state, size_t index, const float* past);
  void Skips(size_t some);
  float* Ahead(size_t index, int64_t time) const;
  void Narrow(const float* vectors);
  void SampleLevel(const Chunk& chunk, int sample);
  const float* Condition(int voice) const;
  void Hidden();
  void Logits();
  void Meet() {
    if (!apart_) team_.Barrier();
  }
  void Draw(const Chunk& chunk, int sample, int voice, bool keep);
  const int32_t* Window(int voice, int size) const;
  void SetAll(const float* vectors);
  float* Latest(size_t index, size_t layer) const;  // h before this step
  float* Next(size_t index, size_t layer) const;    // h after it

  Workspace& shared_;
  const PackedModel& model_;
  const Kernels& kernels_;
  Team& team_;
  const int thread_;
  const int group_;  // vectors that go through a tier's `above` together
  int batch_ = 0;
  int64_t clock_ = 0;
  bool apart_ = false;             // whether threads have voices for themselves
  Workspace::Range voices_{0, 0};  // else each has rows of matrices for all voices
  Workspace::Range units_{0, 0};
  Workspace::Range levels_{0, 0};
  Workspace::Range skips_{0, 0};
  struct Half {
    Workspace::Range units{0, 0};   // blocks, of both halves' blocks
    Workspace::Range hidden{0, 0};  // panels
    Workspace::Range levels{0, 0};
  };
  Half halves_[2];               // of a WaveRNN: coarse, fine
  Operand operand_;              // (dim,) for every voice
  Operand many_;                 // (dim,) for some conditions of every voice
  Floats frame_;                 // (FS,) real values
  Floats sums_;                  // (padded,)
  Floats zeros_;                 // (padded,)
  Floats products_;              // (batch, padded)
  Operand narrow_;               // (channels,) or (half,) for every voice
  Operand vectors_;              // (condition width,) for every voice
  bool has_conditions_ = false;  // of this block of samples
  std::vector<int32_t> stages_;  // (batch,) coarse codes of this sample
  std::vector<double> rests_;    // (batch,) what the last draw has left of the random number
  std::vector<double> scores_;   // (batch,) ln p of what is drawn of this sample
  std::vector<Operand> wide_;    // per product of skip maps, for every voice
  Floats x_;                     // (batch, channels): what the next layer is given
  Floats gates_;                 // (batch, 2 * padded channels)
  Floats past_;                  // (batch, 2 * padded channels)
  int64_t reached_ = 0;          // groups of layers since the block of samples began
  std::vector<int> now_;         // per tier: which h is the latest
  // (batch, 2 * lookback), everything twice: the last codes are whole wherever they begin.
  std::vector<int32_t> history_;
  std::vector<int32_t> codes_;  // (batch,) of this sample
};

}  // namespace samplewise
