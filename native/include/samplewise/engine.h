// The engine: draws samples from an autoregressive audio model, a chunk at a time, on CPU threads.
//
// Weights (Model) are packed once, immutable and shared. A State is what some voices remember; it
// is a value. An Engine owns threads and scratch memory; every call is one chunk of a State.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace samplewise {

class PackedModel;

// A matrix by name, (rows, cols), row-major. The memory must live until the model is built.
struct Array {
  std::span<const float> values;
  int rows = 0;
  int cols = 0;
};

enum class Cell { kGru, kGruResetAfter, kLstm };

// A model whose weight norm is folded; codes go in, and on top there is an MLP with a softmax.
//
// SampleRNN: tiers of frames and a window of codes, whose embedding is folded. RNN baseline: one
// tier whose frames are single codes, and no window, FS(1) = 0. Arrays, k = tier from 2:
//   tierK.frame        (gates * x_layers * dim, FS(k))  the frame's share of the gates' inputs
//   tierK.codes        (q, gates * x_layers * dim)      in its place, where a frame is one code
//   tierK.above        (gates * x_layers * dim, dim)    the condition's share; not in the top tier
//   tierK.bias         (1, gates * n_rnn * dim)         of the gates, layer by layer
//   tierK.input.I      (gates * dim, dim)               layer I > 0: from the layer below
//   tierK.recurrent.I  (gates * dim, dim)
//   tierK.candidate.I  (1, dim)                         bias within the reset (gru-reset-after)
//   tierK.h0           (n_rnn, state)                   state = dim; LSTM: 2 * dim, h then c
//   tierK.skip.I, tierK.skip_bias                       (dim, dim), (1, dim): with skips
//   tierK.upsample, tierK.upsample_bias                 (ratio * dim, dim), (1, ratio * dim)
//   sample.table       (FS(1) * q, dim)                 what a code at a place in the window adds;
//                                                       none if FS(1) = 0
//   sample.hidden, sample.hidden_bias                   (dim, dim), (1, dim)
//   sample.output, sample.output_bias                   (q, dim), (1, q)
// Gates are stacked GRU r, z, n and LSTM i, f, g, o. x_layers is n_rnn with skips, else 1. In
// tier 2 the upsampling holds the MLP's first map already: no non-linearity is between them.
//
// WaveNet: no tiers and no window, frame_sizes = {0}, but gated dilated layers, I from 0; dim is
// the width of the skip connections, whose sum the MLP takes. n_rnn, cell and skip play no part.
//   stack.embedding                         (q, channels)
//   stack.taps.I, stack.bias.I              (2 * channels, 2 * channels), (1, 2 * channels)
//   stack.residual.I, stack.residual_bias.I (channels, channels), (1, channels); not of the last
//   stack.skip.I                            (dim, channels)
//   stack.skip_bias                         (1, dim)    the sum of all layers'
// Rows of taps are filters, then gates; columns are for what came `dilation` before, then for now.
//
// WaveRNN: frame_sizes = {0}, and `is_wavernn`: a gru-reset-after of dim units, of which the first
// half makes the coarse 8 bits of a code, the other the fine ones; q = 65536, n_rnn = 1. I is 0 for
// the coarse half, 1 for the fine one; codes are seen as real numbers in [-1, 1].
//   wavernn.input                           (3 * dim, 2)       of the last coarse and fine code
//   wavernn.current                         (3 * dim / 2, 1)   of this coarse code: fine units only
//   wavernn.bias, wavernn.candidate         (1, 3 * dim), (1, dim)
//   wavernn.recurrent                       (3 * dim, dim)
//   wavernn.h0                              (1, dim)
//   wavernn.hidden.I, wavernn.hidden_bias.I (dim / 2, dim / 2), (1, dim / 2)
//   wavernn.output.I, wavernn.output_bias.I (256, dim / 2), (1, 256)
//   wavernn.condition                       (3 * dim, condition_width); only where that is not 0
struct ModelSpec {
  std::vector<int> frame_sizes;  // in samples, sample level first
  std::vector<int> dilations;    // of each layer, in samples
  int channels = 0;              // of each layer
  int dim = 0;
  int n_rnn = 0;
  Cell cell = Cell::kGru;
  bool skip = false;
  bool is_wavernn = false;
  int condition_width = 0;  // of the vectors that condition a WaveRNN; 0: none
  int hold = 0;             // samples that share such a vector
  int q_levels = 0;
  int silence = 0;
  std::vector<float> real_values;  // (q,) what frames see of a code
  std::map<std::string, Array> arrays;
};

class Model {
 public:
  // `format`: f32, f16, int8 or int8x16. `isa`: baseline, avx2, avx512 or empty for the best.
  // Throws std::invalid_argument where the spec does not fit itself.
  Model(const ModelSpec& spec, const std::string& format, const std::string& isa = "");
  ~Model();

  size_t bytes() const;             // of packed weights
  double bytes_per_sample() const;  // that one voice reads for one sample, on average
  double macs_per_sample() const;   // multiply-adds of products, zero blocks left out
  const char* isa() const;
  int q_levels() const;
  int logits() const;  // of a sample: q_levels; WaveRNN: 512, the coarse code's, the fine one's

  const PackedModel& packed() const { return *packed_; }

 private:
  std::unique_ptr<const PackedModel> packed_;
};

// What `batch` voices remember between two chunks; they share the clock. Copies are independent.
struct State {
  State(const Model& model, int batch);  // before the first sample: h0, silence behind
  // Copies of voice `voice` of `other`, `batch` times.
  State(const State& other, int voice, int batch);

  std::shared_ptr<const char> identity;  // of the model
  int batch = 0;
  int64_t clock = 0;
  std::vector<std::vector<float>> tiers;       // per tier: h and c of every layer and voice
  std::vector<std::vector<float>> conditions;  // per tier: what it left for the tier below
  // Per dilated layer a ring (dilation, batch, channels) of what it was given: at time t entry
  // t % dilation is the oldest, in whose place the newest comes.
  std::vector<std::vector<float>> pasts;
  std::vector<int32_t> history;          // (batch, lookback), oldest first
  std::vector<size_t> state_widths;      // floats of one layer and voice, per tier
  std::vector<size_t> condition_widths;  // floats of one condition and voice, per tier
  size_t channels = 0;
};

// One chunk. Arrays are (batch, samples), row-major, unless told otherwise.
struct Chunk {
  int samples = 0;
  const float* uniforms = nullptr;      // in [0, 1); may be null if all codes are forced
  const double* temperature = nullptr;  // null: 1
  double min_p = 0.0;  // codes at most so many times as probable as the most probable are not drawn
  // Codes that are given instead of drawn; null: draw. With uniforms, -1: draw this one (WaveRNN).
  const int32_t* forced = nullptr;
  int32_t* codes = nullptr;     // out; may be null if forced
  double* log_probs = nullptr;  // out, nats at temperature 1; null: not wanted
  float* logits = nullptr;      // out, (batch, samples, Model::logits()); null: not wanted
  // (batch, vectors, condition_width): sample t, counted from the state's clock, is conditioned by
  // vector (clock + t) / hold - clock / hold. Needed if and only if the model is conditioned.
  const float* conditioning = nullptr;
  int vectors = 0;

  // Whether some codes may have to be drawn.
  bool draws() const { return forced == nullptr || uniforms != nullptr; }
};

// How many threads work: kAdaptive is for users; the others fix it, so that tests know.
enum class Pace { kAdaptive, kAll, kAlternate };

class Engine {
 public:
  // `threads` >= 1 including the caller's; no more are started than have something to do. The
  // model must outlive the engine.
  Engine(const Model& model, int max_batch, int threads, Pace pace = Pace::kAdaptive);
  ~Engine();

  // Runs a chunk and moves `state` on; returns how many samples were made: fewer than asked if
  // `cancelled`, asked every few milliseconds in the calling thread, says so. One call at a time
  // (others wait). If `cancelled` throws, the state is of no use any more.
  int Run(State& state, const Chunk& chunk, const std::function<bool()>& cancelled = {});

  int threads() const;
  int q_levels() const;
  int logits() const;           // of a sample
  int condition_width() const;  // of the vectors that condition a WaveRNN; 0: none
  double threads_used() const;  // in the last call, on average

 private:
  struct Implementation;
  std::unique_ptr<Implementation> implementation_;
};

}  // namespace samplewise
