// A SampleRNN as the engine runs it: matrices in panels, gates of 32 units next to each other.
//
// A thread owns whole blocks of kPanelRows hidden units: the rows of all their gates, so that the
// gates' non-linearities need nothing from other threads.
#pragma once

#include <memory>
#include <vector>

#include "matrix.h"
#include "samplewise/engine.h"

namespace samplewise {

using Floats = std::vector<float>;

// Rows of a matrix shared among threads: thread i owns panels bounds[i] .. bounds[i + 1] - 1.
struct Shares {
  std::vector<int> bounds;
};

struct PackedLayer {
  PackedMatrix input;            // of layers above the first, from the layer below
  PackedMatrix recurrent;        // all gates; reset-before: r and z
  PackedMatrix candidate;        // reset-before: n alone
  Floats bias;                   // (blocks, gates, 32)
  Floats candidate_bias;         // (padded dim); reset-after
  PackedMatrix skip;             // (dim, dim)
};

struct PackedTier {
  int frame_size = 0;
  int ratio = 0;                 // conditions a step leaves for the tier below
  Floats frame;                  // (blocks, FS, x_layers * gates * 32)
  PackedMatrix above;            // (blocks, x_layers * gates * 32) rows; empty in the top tier
  std::vector<PackedLayer> layers;
  Floats h0;                     // (n_rnn, state of padded dim)
  Floats skip_bias;              // (padded dim)
  std::vector<PackedMatrix> upsample;  // one (dim, dim) map per condition
  Floats upsample_bias;          // (ratio, padded dim)
};

class PackedSampleRnn {
 public:
  PackedSampleRnn(const SampleRnnSpec& spec, Format format, const Kernels& kernels);

  int padded() const { return blocks * kPanelRows; }
  int state_width() const { return padded() * (cell == Cell::kLstm ? 2 : 1); }
  int top_frame() const { return tiers.back().frame_size; }
  // Floats that a tier's step leaves for one voice and one step of the tier below.
  int condition_width(size_t tier) const {
    return tier == 0 ? padded() : blocks * x_layers * gates * kPanelRows;
  }
  std::vector<const PackedMatrix*> matrices(const PackedTier& tier) const;

  // A State carries it: it belongs to this model and to no other.
  const std::shared_ptr<const char> identity = std::make_shared<const char>();
  const Kernels& kernels;
  Format format;
  Cell cell;
  int dim;
  int blocks;    // of kPanelRows hidden units
  int gates;     // 3, LSTM 4
  int x_layers;  // layers that see the tier's input: with skips all, else the first
  int n_rnn;
  bool skip;
  int q_levels;
  int silence;
  int sample_frame;  // FS(1)
  int lookback;
  Floats real_values;
  std::vector<PackedTier> tiers;  // tier 2 first
  Floats table;                   // (FS(1), q, padded dim)
  PackedMatrix hidden;
  Floats hidden_bias;             // (padded dim)
  PackedMatrix output;
  Floats output_bias;             // (padded q)
};

}  // namespace samplewise
