// A model as the engine runs it: matrices in panels, gates of 32 units next to each other.
//
// A thread owns whole blocks of kPanelRows hidden units: the rows of all their gates, so that the
// gates' non-linearities need nothing from other threads.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "matrix.h"
#include "samplewise/engine.h"

namespace samplewise {

using Floats = std::vector<float>;

class Arrays;

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
  Floats codes;                  // (q, blocks, x_layers * gates * 32); in place of frame
  PackedMatrix above;            // (blocks, x_layers * gates * 32) rows; empty in the top tier
  std::vector<PackedLayer> layers;
  Floats h0;                     // (n_rnn, state of padded dim)
  Floats skip_bias;              // (padded dim)
  std::vector<PackedMatrix> upsample;  // one (dim, dim) map per condition
  Floats upsample_bias;          // (ratio, padded dim)
};

// A gated dilated layer; filters and gates are each padded to whole panels.
struct PackedDilated {
  int dilation = 0;
  PackedMatrix past;             // (2 * padded channels, channels): of what came `dilation` before
  PackedMatrix present;          // (2 * padded channels, channels): of what comes now
  Floats bias;                   // (2 * padded channels)
  PackedMatrix residual;         // (channels, channels); empty in the last layer
  Floats residual_bias;          // (padded channels)
};

// The skip maps of the layers first .. last - 1 side by side: one product.
struct PackedSkips {
  size_t first = 0;
  size_t last = 0;
  PackedMatrix map;              // (dim, (last - first) * channels)
};

struct PackedStack {
  int padded() const { return (channels + kPanelRows - 1) / kPanelRows * kPanelRows; }
  std::vector<const PackedMatrix*> matrices() const;

  int channels = 0;
  Floats embedding;              // (q, channels)
  std::vector<PackedDilated> layers;
  std::vector<PackedSkips> skips;
  Floats skip_bias;              // (padded dim)
};

class PackedModel {
 public:
  PackedModel(const ModelSpec& spec, Format format, const Kernels& kernels);

  int padded() const { return blocks * kPanelRows; }
  int state_width() const { return padded() * (cell == Cell::kLstm ? 2 : 1); }
  int top_frame() const { return tiers.empty() ? 1 : tiers.back().frame_size; }
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
  int sample_frame;  // FS(1); 0: no window
  int lookback;
  Floats real_values;
  std::vector<PackedTier> tiers;  // tier 2 first
  PackedStack stack;              // WaveNet; empty if there are tiers
  Floats table;                   // (FS(1), q, padded dim)
  PackedMatrix hidden;
  Floats hidden_bias;             // (padded dim)
  PackedMatrix output;
  Floats output_bias;             // (padded q)

 private:
  PackedTier PackTier(const Arrays& arrays, const std::vector<int>& frame_sizes, size_t k) const;
  PackedLayer PackLayer(const Arrays& arrays, const std::string& tier, int layer) const;
  PackedStack PackStack(const Arrays& arrays, const std::vector<int>& dilations,
                        int channels) const;
};

}  // namespace samplewise
