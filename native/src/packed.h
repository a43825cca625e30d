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

inline constexpr int kStageLevels = 256;  // codes of each of the two draws of a WaveRNN's sample

class Arrays;

// Rows of a matrix shared among threads: thread i owns panels bounds[i] .. bounds[i + 1] - 1.
struct Shares {
  std::vector<int> bounds;
};

struct PackedLayer {
  PackedMatrix input;      // of layers above the first, from the layer below
  PackedMatrix recurrent;  // all gates; reset-before: r and z
  PackedMatrix candidate;  // reset-before: n alone
  Floats bias;             // (blocks, gates, 32)
  Floats candidate_bias;   // (padded dim); reset-after
  PackedMatrix skip;       // (dim, dim)
};

struct PackedTier {
  int frame_size = 0;
  int ratio = 0;       // conditions a step leaves for the tier below
  Floats frame;        // (blocks, FS, x_layers * gates * 32)
  Floats codes;        // (q, blocks, x_layers * gates * 32); in place of frame
  PackedMatrix above;  // (blocks, x_layers * gates * 32) rows; empty in the top tier
  std::vector<PackedLayer> layers;
  Floats h0;                           // (n_rnn, state of padded dim)
  Floats skip_bias;                    // (padded dim)
  std::vector<PackedMatrix> upsample;  // one (dim, dim) map per condition
  Floats upsample_bias;                // (ratio, padded dim)
};

// A gated dilated layer; filters and gates are each padded to whole panels.
struct PackedDilated {
  int dilation = 0;
  PackedMatrix past;      // (2 * padded channels, channels): of what came `dilation` before
  PackedMatrix present;   // (2 * padded channels, channels): of what comes now
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

struct PackedStack {
  int padded() const { return (channels + kPanelRows - 1) / kPanelRows * kPanelRows; }
  std::vector<const PackedMatrix*> matrices() const;

  int channels = 0;
  Floats embedding;  // (q, channels)
  std::vector<PackedDilated> layers;
  std::vector<PackedSkips> skips;
  Floats skip_bias;  // (padded dim)
};

// One half of a WaveRNN's units: the coarse 8 bits or the fine ones.
struct PackedHalf {
  Floats columns;       // (blocks, 2 or 3, gates * 32): of c_(t-1), f_(t-1); fine: c_t
  PackedMatrix hidden;  // (half, half): O1 or O3
  Floats hidden_bias;   // (padded half)
  PackedMatrix output;  // (256, half): O2 or O4
  Floats output_bias;   // (256)
};

// Its units are those of the coarse half, filled up to whole panels, then those of the fine half.
struct PackedWaveRnn {
  int padded_half() const { return blocks * kPanelRows; }
  std::vector<const PackedMatrix*> matrices() const;

  int half = 0;            // units; 0: the model is another
  int blocks = 0;          // of a half
  PackedMatrix recurrent;  // (2 * blocks, gates * 32) rows, 2 * padded half columns: R
  Floats bias;             // (2 * blocks, gates * 32)
  Floats candidate_bias;   // (2 * padded half)
  PackedHalf halves[2];
  PackedMatrix condition;  // (2 * blocks, gates * 32) rows; none if not conditioned
  int hold = 1;            // samples that share a vector of condition's columns
};

class PackedModel {
 public:
  PackedModel(const ModelSpec& spec, Format format, const Kernels& kernels);

  int padded() const { return blocks * kPanelRows; }
  bool is_wavernn() const { return wavernn.half > 0; }
  int logits() const { return is_wavernn() ? 2 * kStageLevels : q_levels; }
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
  PackedWaveRnn wavernn;          // its h is the only state of a tier without matrices
  Floats table;                   // (FS(1), q, padded dim)
  PackedMatrix hidden;
  Floats hidden_bias;  // (padded dim)
  PackedMatrix output;
  Floats output_bias;  // (padded q)

 private:
  PackedTier PackTier(const Arrays& arrays, const std::vector<int>& frame_sizes, size_t k) const;
  PackedLayer PackLayer(const Arrays& arrays, const std::string& tier, int layer) const;
  PackedStack PackStack(const Arrays& arrays, const std::vector<int>& dilations,
                        int channels) const;
  PackedWaveRnn PackWaveRnn(const Arrays& arrays, int condition_width, int hold) const;
  PackedTier WaveRnnState(const Arrays& arrays) const;
};

}  // namespace samplewise
