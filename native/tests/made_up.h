// Descriptions of every kind of model, with made-up weights.
#pragma once

#include <algorithm>
#include <cmath>
#include <map>
#include <string>
#include <vector>

#include "check.h"
#include "samplewise/engine.h"

namespace samplewise {

// A description and the memory that its arrays point into.
struct MadeUp {
  ModelSpec spec;
  std::map<std::string, std::vector<float>> memory;

  void Add(const std::string& name, int rows, int cols) {
    const auto size = static_cast<size_t>(rows) * static_cast<size_t>(cols);
    const float deviation = 1.5F / std::sqrt(static_cast<float>(std::max(cols, 4)));
    memory[name] = Normal(size, static_cast<unsigned>(memory.size()) + 1, deviation);
    spec.arrays[name] = {memory[name], rows, cols};
  }
  void Remove(const std::string& name) {
    spec.arrays.erase(name);
    memory.erase(name);
  }
};

inline MadeUp Make(Cell cell, std::vector<int> frame_sizes, int dim, int n_rnn, bool skip, int q) {
  MadeUp made;
  made.spec.frame_sizes = frame_sizes;
  made.spec.dim = dim;
  made.spec.n_rnn = n_rnn;
  made.spec.cell = cell;
  made.spec.skip = skip;
  made.spec.q_levels = q;
  made.spec.silence = q / 2;
  made.spec.real_values = Normal(static_cast<size_t>(q), 99);
  const int gates = cell == Cell::kLstm ? 4 : 3;
  const int inputs = gates * (skip ? n_rnn : 1) * dim;
  for (size_t k = 2; k <= frame_sizes.size(); ++k) {
    const std::string name = "tier" + std::to_string(k) + ".";
    const int ratio = frame_sizes[k - 1] / (k > 2 ? frame_sizes[k - 2] : 1);
    made.Add(name + "frame", inputs, frame_sizes[k - 1]);
    if (k < frame_sizes.size()) made.Add(name + "above", inputs, dim);
    made.Add(name + "bias", 1, gates * n_rnn * dim);
    made.Add(name + "h0", n_rnn, dim * (cell == Cell::kLstm ? 2 : 1));
    for (int layer = 0; layer < n_rnn; ++layer) {
      const std::string number = "." + std::to_string(layer);
      made.Add(name + "recurrent" + number, gates * dim, dim);
      if (layer > 0) made.Add(name + "input" + number, gates * dim, dim);
      if (cell == Cell::kGruResetAfter) made.Add(name + "candidate" + number, 1, dim);
      if (skip) made.Add(name + "skip" + number, dim, dim);
    }
    if (skip) made.Add(name + "skip_bias", 1, dim);
    made.Add(name + "upsample", ratio * dim, dim);
    made.Add(name + "upsample_bias", 1, ratio * dim);
  }
  made.Add("sample.table", frame_sizes[0] * q, dim);
  made.Add("sample.hidden", dim, dim);
  made.Add("sample.hidden_bias", 1, dim);
  made.Add("sample.output", q, dim);
  made.Add("sample.output_bias", 1, q);
  return made;
}

// The RNN baseline: frames are codes.
inline MadeUp MakeRnn(Cell cell, int dim, int n_rnn, bool skip, int q) {
  MadeUp made = Make(cell, {1, 1}, dim, n_rnn, skip, q);
  made.spec.frame_sizes = {0, 1};
  made.Remove("sample.table");
  made.Remove("tier2.frame");
  made.Add("tier2.codes", q, (cell == Cell::kLstm ? 4 : 3) * (skip ? n_rnn : 1) * dim);
  return made;
}

inline MadeUp MakeWaveNet(std::vector<int> dilations, int channels, int dim, int q) {
  MadeUp made;
  made.spec.frame_sizes = {0};
  made.spec.dilations = dilations;
  made.spec.channels = channels;
  made.spec.dim = dim;
  made.spec.n_rnn = 1;
  made.spec.q_levels = q;
  made.spec.silence = q / 2;
  made.spec.real_values = Normal(static_cast<size_t>(q), 99);
  made.Add("stack.embedding", q, channels);
  for (size_t layer = 0; layer < dilations.size(); ++layer) {
    const std::string number = "." + std::to_string(layer);
    made.Add("stack.taps" + number, 2 * channels, 2 * channels);
    made.Add("stack.bias" + number, 1, 2 * channels);
    made.Add("stack.skip" + number, dim, channels);
    if (layer + 1 == dilations.size()) continue;
    made.Add("stack.residual" + number, channels, channels);
    made.Add("stack.residual_bias" + number, 1, channels);
  }
  made.Add("stack.skip_bias", 1, dim);
  made.Add("sample.hidden", dim, dim);
  made.Add("sample.hidden_bias", 1, dim);
  made.Add("sample.output", q, dim);
  made.Add("sample.output_bias", 1, q);
  return made;
}

inline MadeUp MakeWaveRnn(int dim, int condition_width, int hold) {
  MadeUp made;
  made.spec.frame_sizes = {0};
  made.spec.is_wavernn = true;
  made.spec.dim = dim;
  made.spec.n_rnn = 1;
  made.spec.cell = Cell::kGruResetAfter;
  made.spec.condition_width = condition_width;
  made.spec.hold = hold;
  made.spec.q_levels = 65536;
  made.spec.silence = 32768;
  made.spec.real_values = Normal(65536, 99);
  const int half = dim / 2;
  made.Add("wavernn.input", 3 * dim, 2);
  made.Add("wavernn.current", 3 * half, 1);
  made.Add("wavernn.bias", 1, 3 * dim);
  made.Add("wavernn.candidate", 1, dim);
  made.Add("wavernn.recurrent", 3 * dim, dim);
  made.Add("wavernn.h0", 1, dim);
  for (const char* number : {".0", ".1"}) {
    made.Add(std::string("wavernn.hidden") + number, half, half);
    made.Add(std::string("wavernn.hidden_bias") + number, 1, half);
    made.Add(std::string("wavernn.output") + number, 256, half);
    made.Add(std::string("wavernn.output_bias") + number, 1, 256);
  }
  if (condition_width > 0) made.Add("wavernn.condition", 3 * dim, condition_width);
  return made;
}

}  // namespace samplewise
