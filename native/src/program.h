// What each thread does for one sample of every voice. Shared memory is written by the owner of the
// rows alone and read by others after the next barrier.
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
  Workspace(const PackedSampleRnn& model, int max_batch, int threads);

  // Panels [first, last) of a matrix that `thread` owns when `active` threads run.
  struct Range {
    int first;
    int last;
  };
  Range Own(const Shares& shares, int thread, int active) const;

  struct Tier {
    Floats h[2];        // (n_rnn, batch, padded): before and after this step, in turn
    Floats c;           // (n_rnn, batch, padded): LSTM
    Floats reset;       // (batch, padded): r h
    Floats output;      // (batch, padded): sum of skips
    Floats inputs;      // (batch, blocks, x_layers * gates * 32): the tier's input to its gates
    Floats x;           // (batch, blocks, gates * 32): a layer's input to its gates
    Floats u;           // (batch, blocks, gates * 32): recurrent products
    Floats conditions;  // (ratio, batch, padded): upsampled
    Floats left;        // (ratio, batch, condition width): what the tier below reads
    int now = 0;        // which h is the latest
  };

  const PackedSampleRnn& model;
  int threads;
  std::vector<Tier> tiers;
  Shares units;   // blocks of hidden units
  Shares levels;  // panels of the output
  Floats hidden;  // (batch, padded)
  Floats logits;  // (batch, padded q)
  std::vector<int32_t> drawn;  // (batch,)
};

// One thread's part.
class Program {
 public:
  Program(Workspace& shared, Team& team, int max_batch, int thread);

  // Runs samples [begin, ...) of `chunk` until `end` or until `more(sample)` says no, which all
  // threads must answer alike; returns where it stopped.
  template <class More>
  int Run(State& state, const Chunk& chunk, int begin, int end, int active, const More& more);

  void Load(const State& state);        // own history
  void Store(State& state) const;       // history; tiers are shared

 private:
  void Step(const Chunk& chunk, int sample);
  void RunTier(size_t index);
  void RunLayer(size_t index, size_t layer);
  void RunGruBefore(size_t index, size_t layer);
  void TierInputs(size_t index);
  void TierOutputs(size_t index);
  void SampleLevel(const Chunk& chunk, int sample, bool wanted);
  void Emit(const Chunk& chunk, int sample, int voice);
  void Multiply(const PackedMatrix& w, const Operand& x, float* y, size_t stride, int batch,
                int first, int last) const;

  Workspace& shared_;
  const PackedSampleRnn& model_;
  const Kernels& kernels_;
  Team& team_;
  const int thread_;
  const int max_batch_;
  int batch_ = 0;
  int active_ = 1;
  int64_t clock_ = 0;
  Workspace::Range units_{0, 0};
  Workspace::Range levels_{0, 0};
  Operand operand_;              // (dim,) for every voice
  Operand many_;                 // (dim,) for every voice and condition
  Floats frame_;                 // (FS,) real values
  Floats sums_;                  // (padded,)
  Floats products_;              // (batch, blocks, gates * 32)
  std::vector<int32_t> history_; // (batch, 2 * lookback) written twice, so that windows are whole
};

}  // namespace samplewise
