// WaveNet (van den Oord et al. 2016) with cached layers, a sample at a time.
//
// A layer's share of the past does not depend on the present sample. If every thread has clips for
// itself, it runs all layers for them. Otherwise it is a pipeline: the first thread runs the chain
// of layers, each of which waits for the layer before. The other threads compute the lookahead,
// which is what the past gives to the next sample, and most of the skip connections.
#pragma once

#include <vector>

#include "conditioning.h"
#include "history.h"
#include "mlp.h"
#include "packing.h"
#include "partition.h"
#include "samplewise/engine.h"
#include "thread_team.h"

namespace samplewise {

class WaveNetWorkspace;
class WaveNetStepper;

// A gated dilated layer; filters and gates are each padded to whole panels.
struct PackedDilatedLayer {
  int dilation = 0;
  PackedMatrix past;      // (2 * padded channels, channels): of the input `dilation` samples ago
  PackedMatrix present;   // (2 * padded channels, channels): of the present input
  Floats bias;            // (2 * padded channels)
  PackedMatrix residual;  // (channels, channels); empty in the last layer
  Floats residual_bias;   // (padded channels)
};

// The skip maps of the layers first .. last - 1 side by side: one product.
struct PackedSkips {
  size_t first = 0;
  size_t last = 0;
  PackedMatrix map;  // (dim, (last - first) * channels)
};

class PackedWaveNet {
 public:
  using Workspace = WaveNetWorkspace;
  using Stepper = WaveNetStepper;

  PackedWaveNet(const WaveNetSpec& spec, int q_levels, Format format);

  int logits() const { return q_levels; }
  int lookback() const { return 1; }  // codes of the past that a step needs
  int useful_threads(int max_batch) const;
  std::vector<MatrixUse> matrices() const;
  // For each layer a ring of its inputs, (dilation, batch, channels): at time t entry t % dilation
  // is the oldest, which the newest replaces.
  std::vector<StateArray> InitialState(int batch) const;

  int padded() const { return blocks * kPanelRows; }
  int padded_channels() const { return CeilPanels(channels) * kPanelRows; }

  Format format;
  ConditioningSize conditioning;
  int q_levels;
  int channels;
  int dim;           // channels of the skip connections
  int blocks;        // dim, in panels
  Floats embedding;  // (q, channels)
  std::vector<PackedDilatedLayer> layers;
  PackedMatrix condition;  // (layers, 2 * padded channels) rows; empty if not conditioned
  std::vector<PackedSkips> skips;
  Floats skip_bias;  // (padded dim)
  PackedMlp mlp;
};

// Memory that all threads see. Rows are written by their owner alone, and read by other threads
// after the next barrier.
class WaveNetWorkspace {
 public:
  WaveNetWorkspace(const PackedWaveNet& weights, const Kernels& kernels, ThreadTeam& team,
                   int max_batch);

  void Load(const State&) {}  // steppers work on the rings of the State itself
  void Store(State&) const {}

  const PackedWaveNet& weights;
  const Kernels& kernels;
  ThreadTeam& team;
  const int max_batch;
  Partition units;      // blocks of the MLP's hidden units
  Partition skip_rows;  // panels of the skip maps
  Progress chain;       // groups of layers (PackedSkips) that the first thread has finished
  Floats skips;         // (batch, padded dim): sum of the skip connections
  Floats gated;         // (batch, layers, channels): outputs of the gates
  Floats lookahead[2];  // (layers, batch, 2 * padded channels): of an even and of an odd time
  MlpWorkspace mlp;
};

// One thread's part of a step.
class WaveNetStepper {
 public:
  WaveNetStepper(WaveNetWorkspace& shared, int thread);

  // Runs samples [begin, end) of `chunk`; all `active` threads call it with the same arguments.
  void Run(State& state, const Chunk& chunk, int begin, int end, int active);

 private:
  void Divide(const State& state, int active);
  void BeginPipeline(const State& state);
  void RunAllLayers(State& state, bool needs_skips);
  void RunChain(State& state, bool needs_skips);
  void FollowChain(const State& state, bool needs_skips);
  void LookAhead(const State& state, bool has_unit_dilation);
  void Condition();
  void Embed();
  void Past(const State& state, size_t index, int64_t time, float* to);
  void RunLayer(State& state, size_t index, const float* past);
  void Skips(size_t group);
  void SampleLevel(const Chunk& chunk, int sample);
  float* Lookahead(size_t index, int64_t time) const;
  void SetInput(const float* vectors);

  WaveNetWorkspace& shared_;
  const PackedWaveNet& weights_;
  const Kernels& kernels_;
  ThreadTeam& team_;
  const int thread_;
  Division division_;
  int batch_ = 0;
  Range clips_;
  Range skip_rows_;
  int64_t finished_ = 0;  // groups of layers since the block of samples began
  History history_;
  ConditioningInput conditioning_;
  MlpStepper mlp_;
  PackedInput input_;                     // (channels,) for every clip
  std::vector<PackedInput> skip_inputs_;  // for each product of skip maps, for every clip
  Floats x_;                              // (batch, channels): input of the next layer
  Floats gates_;                          // (batch, 2 * padded channels)
  Floats past_;                           // (batch, 2 * padded channels)
  Floats condition_;                      // (batch, layers, 2 * padded channels)
  Floats products_;                       // (batch, padded dim)
  Floats relu_;                           // (padded dim,)
  Floats zeros_;                          // (padded dim,)
  std::vector<int32_t> codes_;            // (batch,) of this sample
};

}  // namespace samplewise
