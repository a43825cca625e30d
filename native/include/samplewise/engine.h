// The engine: draws samples from an autoregressive audio model on CPU threads, a chunk at a time.
//
// Weights (Model) are packed once, immutable and shared. A State is what a batch of clips carries
// from one chunk to the next; it is a value. An Engine owns threads and scratch memory; each call
// runs one chunk.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "samplewise/specs.h"

namespace samplewise {

class PackedModel;

class Model {
 public:
  // `format`: f32, f16, int8 or int8x16. `isa`: baseline, avx2, avx512, neon, neon-i8mm, or
  // empty for the best.
  // Throws std::invalid_argument if sizes and arrays of the spec do not agree.
  Model(const ModelSpec& spec, const std::string& format, const std::string& isa = "");
  ~Model();

  size_t bytes() const;             // of packed weights
  double bytes_per_sample() const;  // that one clip reads for one sample, on average
  double macs_per_sample() const;   // multiply-adds of products, without zero blocks
  const char* isa() const;
  int logits()
      const;  // of a sample: q_levels; WaveRNN: 512, the coarse code's, then the fine one's

  const PackedModel& packed() const { return *packed_; }

 private:
  std::unique_ptr<const PackedModel> packed_;
};

// An array (steps, batch, width) of a State.
struct StateArray {
  std::vector<float> values;
  size_t width = 0;

  bool operator==(const StateArray&) const = default;
};

// What the clips of a batch carry from one chunk to the next; they share the clock. Copies are
// independent.
struct State {
  State(const Model& model, int batch);  // before the first sample: h0, and silence as history
  // `batch` copies of clip `clip` of `other`.
  State(const State& other, int clip, int batch);

  std::shared_ptr<const char> identity;  // of the model
  int batch = 0;
  int64_t clock = 0;               // samples so far
  std::vector<StateArray> arrays;  // as the model's family defines them (models/*.h)
  std::vector<int32_t> history;    // (batch, lookback): the last codes, oldest first
};

// One chunk. Arrays are (batch, samples), row-major, unless noted otherwise.
struct Chunk {
  int samples = 0;
  const float* uniforms = nullptr;      // in [0, 1); may be null if all codes are forced
  const double* temperature = nullptr;  // null: 1
  double min_p = 0.0;  // codes at most this many times as probable as the likeliest are not drawn
  // Codes that are given instead of drawn; null: draw. With uniforms, -1: draw this one (WaveRNN).
  const int32_t* forced = nullptr;
  int32_t* codes = nullptr;     // out; may be null if forced
  double* log_probs = nullptr;  // out, nats at temperature 1; null: not wanted
  float* logits = nullptr;      // out, (batch, samples, Model::logits()); null: not wanted
  // (batch, vectors, condition_width): sample t, counted from the state's clock, is conditioned by
  // vector (clock + t) / hold - clock / hold. Given if and only if the model is conditioned.
  const float* conditioning = nullptr;
  int vectors = 0;

  // Whether some codes may have to be drawn.
  bool draws() const { return forced == nullptr || uniforms != nullptr; }
};

// How many threads work: kAdaptive is for users; the others are fixed, for tests.
enum class Pace { kAdaptive, kAll, kAlternate };

class Engine {
 public:
  // `threads` >= 1 includes the calling thread; threads that would have no rows are not started.
  // The model must outlive the engine.
  Engine(const Model& model, int max_batch, int threads, Pace pace = Pace::kAdaptive);
  ~Engine();

  // Runs a chunk and advances `state`. Returns the number of samples done: fewer than asked if
  // `cancelled`, which the calling thread calls every few milliseconds, returns true. One call runs
  // at a time; others wait. If `cancelled` throws, the state is invalid.
  int Run(State& state, const Chunk& chunk, const std::function<bool()>& cancelled = {});

  int threads() const;
  int logits() const;           // of a sample
  int condition_width() const;  // of conditioning vectors; 0: the model is not conditioned
  double threads_used() const;  // in the last call, on average

 private:
  struct Implementation;
  std::unique_ptr<Implementation> implementation_;
};

}  // namespace samplewise
