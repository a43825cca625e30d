// The models that the engine runs, as a caller describes them: sizes and weights.
//
// Weight norm is folded. Gates are stacked GRU r, z, n and LSTM i, f, g, o.
#pragma once

#include <span>
#include <variant>
#include <vector>

namespace samplewise {

// A matrix (rows, cols), row-major; empty if it is absent. The memory must live until the model is
// built.
struct Array {
  std::span<const float> values;
  int rows = 0;
  int cols = 0;
};

enum class Cell { kGru, kGruResetAfter, kLstm };

// The last two layers of an MLP. It gives the logits of q codes, or of `components` logistic
// distributions the logits of their weights, then their places, then the logarithms of their
// scales; of Gaussians the logits, the means and the logarithms of the deviations before the floor.
struct MlpSpec {
  Array hidden;       // (dim, dim)
  Array hidden_bias;  // (1, dim)
  Array output;       // (q, dim) or (3 * components, dim)
  Array output_bias;  // (1, q) or (1, 3 * components)
  int components = 0;
  bool gaussian = false;  // the components are Gaussians over the real values of the codes
};

struct RecurrentLayerSpec {
  Array input;           // (gates * dim, dim): from the layer below; not in the first layer
  Array recurrent;       // (gates * dim, dim)
  Array candidate_bias;  // (1, dim): the bias within the reset; gru-reset-after only
  Array skip;            // (dim, dim): with skip connections only
};

// A frame-level tier k. x_layers is the number of layers that see the tier's input: all of them
// with skip connections, else the first.
struct TierSpec {
  int frame_size = 0;  // FS(k) in samples
  Array frame;         // (gates * x_layers * dim, FS(k)): from the frame's real values to the gates
  Array codes;         // (q, gates * x_layers * dim): replaces `frame` where a frame is one code
  Array above;         // (gates * x_layers * dim, dim): from the tier above; not in the top tier
  Array condition;     // (gates * x_layers * dim, condition_width); only if conditioned
  Array bias;          // (1, gates * n_rnn * dim): of the gates, layer by layer
  Array h0;            // (n_rnn, dim); LSTM: (n_rnn, 2 * dim), h then c
  Array skip_bias;     // (1, dim): with skip connections only
  Array upsample;      // (ratio * dim, dim); tier 2: times the first map of the MLP
  Array upsample_bias;                     // (1, ratio * dim)
  std::vector<RecurrentLayerSpec> layers;  // as many in every tier
};

// A backward-adaptive linear predictor beside a SampleRNN. A mixture lies around its prediction; to
// logits of codes, a logistic distribution around it is added.
struct LinearPredictorSpec {
  int order = 0;                  // samples that a prediction looks back; 0: no predictor
  int window = 0;                 // samples that a filter is computed from
  int hop = 0;                    // samples between two filters
  int errors = 0;                 // past errors that the MLP sees
  double noise = 0.0;             // white noise, as a share of the power
  bool burg = false;              // Burg's method; else the autocorrelation method
  double damping = 0.0;           // how much weaker each further weight is, as a share
  double largest_error = 0.25;    // that counts, as a share of the codes
  std::vector<double> tilt;       // fixed predictor before that of Burg's method
  std::vector<float> amplitudes;  // (q,): of each code, ascending
  bool companded = false;         // whether the MLP sees the prediction as a real value of a code
  Array features;                 // (dim, errors + 4): from the predictor to the MLP
  Array logistic;                 // (2, dim): place and log scale, from the MLP's last layer; not
                                  // with a mixture
  Array logistic_bias;            // (1, 2)
};

// SampleRNN (Mehri et al. 2017). The RNN baseline (Eqs. 2-3) is a SampleRNN of one
// tier whose frames are single codes, with window = 0.
struct SampleRnnSpec {
  int window = 0;  // FS(1), the codes that the sample level sees; 0: none
  int dim = 0;
  Cell cell = Cell::kGru;
  bool skip = false;               // whether layers have skip connections
  int condition_width = 0;         // of the conditioning vectors; 0: not conditioned
  int hold = 1;                    // samples that share a conditioning vector
  std::vector<float> real_values;  // (q,): the real value of each code in a frame
  std::vector<TierSpec> tiers;     // tier 2 first
  Array table;       // (window * q, dim): the sum that each code at each place gives to the MLP
  Array window_map;  // (dim, window): of the window's real values; replaces `table`
  MlpSpec mlp;
  LinearPredictorSpec predictor;
};

// A gated dilated layer of two taps. The rows of `taps` are filters, then gates; its columns are
// for the input of `dilation` samples ago, then for the present one.
struct DilatedLayerSpec {
  int dilation = 0;     // in samples
  Array taps;           // (2 * channels, 2 * channels)
  Array bias;           // (1, 2 * channels)
  Array residual;       // (channels, channels); not in the last layer
  Array residual_bias;  // (1, channels); not in the last layer
  Array skip;           // (dim, channels)
  Array condition;      // (2 * channels, condition_width); only if conditioned
};

// WaveNet (van den Oord et al. 2016). The MLP takes the sum of the skip connections.
struct WaveNetSpec {
  int channels = 0;
  int dim = 0;              // channels of the skip connections
  int condition_width = 0;  // of the conditioning vectors; 0: not conditioned
  int hold = 1;             // samples that share a conditioning vector
  Array embedding;          // (q, channels)
  std::vector<DilatedLayerSpec> layers;
  Array skip_bias;  // (1, dim): the sum over all layers
  MlpSpec mlp;
};

// The layers from one half of a WaveRNN's units to the logits of 8 bits.
struct WaveRnnHalfSpec {
  Array hidden;       // (dim / 2, dim / 2): O1 or O3
  Array hidden_bias;  // (1, dim / 2)
  Array output;       // (256, dim / 2): O2 or O4
  Array output_bias;  // (1, 256)
};

// WaveRNN (Kalchbrenner et al. 2018): a gru-reset-after whose first half of units gives the coarse
// 8 bits of a code, the second half the fine 8 bits. q = 65536. Codes enter as real numbers in [-1,
// 1].
struct WaveRnnSpec {
  int dim = 0;              // units, even
  int condition_width = 0;  // of the conditioning vectors; 0: not conditioned
  int hold = 1;             // samples that share a conditioning vector
  Array input;              // (3 * dim, 2): of the previous coarse and fine code
  Array current;            // (3 * dim / 2, 1): of the present coarse code, to the fine units
  Array bias;               // (1, 3 * dim)
  Array candidate_bias;     // (1, dim)
  Array recurrent;          // (3 * dim, dim)
  Array h0;                 // (1, dim)
  Array condition;          // (3 * dim, condition_width); only if conditioned
  WaveRnnHalfSpec coarse;
  WaveRnnHalfSpec fine;
};

struct ModelSpec {
  int q_levels = 0;
  int silence = 0;  // the code of amplitude 0
  std::variant<SampleRnnSpec, WaveNetSpec, WaveRnnSpec> network;
};

}  // namespace samplewise
