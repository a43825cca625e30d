// Specs of every kind of model, with made-up weights.
#pragma once

#include <algorithm>
#include <cmath>
#include <list>
#include <vector>

#include "check.h"
#include "samplewise/engine.h"

namespace samplewise {

// A spec and the memory that its arrays point into.
struct MadeUp {
  ModelSpec spec;
  std::list<std::vector<float>> memory;

  Array Make(int rows, int cols) {
    const auto size = static_cast<size_t>(rows) * static_cast<size_t>(cols);
    const float deviation = 1.5F / std::sqrt(static_cast<float>(std::max(cols, 4)));
    const auto seed = static_cast<unsigned>(memory.size()) + 1;
    return {memory.emplace_back(Normal(size, seed, deviation)), rows, cols};
  }
  MlpSpec MakeMlp(int dim, int q) {
    return {Make(dim, dim), Make(1, dim), Make(q, dim), Make(1, q)};
  }
  int condition_width() const {
    return std::visit([](const auto& network) { return network.condition_width; }, spec.network);
  }
  int hold() const {
    return std::visit([](const auto& network) { return network.hold; }, spec.network);
  }
};

inline MadeUp MakeSampleRnn(Cell cell, std::vector<int> frame_sizes, int dim, int n_rnn, bool skip,
                            int q) {
  MadeUp made;
  SampleRnnSpec network;
  network.window = frame_sizes[0];
  network.dim = dim;
  network.cell = cell;
  network.skip = skip;
  network.real_values = Normal(static_cast<size_t>(q), 99);
  const int gates = cell == Cell::kLstm ? 4 : 3;
  const int inputs = gates * (skip ? n_rnn : 1) * dim;
  for (size_t k = 2; k <= frame_sizes.size(); ++k) {
    TierSpec tier;
    const int ratio = frame_sizes[k - 1] / (k > 2 ? frame_sizes[k - 2] : 1);
    tier.frame_size = frame_sizes[k - 1];
    tier.frame = made.Make(inputs, tier.frame_size);
    if (k < frame_sizes.size()) tier.above = made.Make(inputs, dim);
    tier.bias = made.Make(1, gates * n_rnn * dim);
    tier.h0 = made.Make(n_rnn, dim * (cell == Cell::kLstm ? 2 : 1));
    for (int index = 0; index < n_rnn; ++index) {
      RecurrentLayerSpec layer;
      layer.recurrent = made.Make(gates * dim, dim);
      if (index > 0) layer.input = made.Make(gates * dim, dim);
      if (cell == Cell::kGruResetAfter) layer.candidate_bias = made.Make(1, dim);
      if (skip) layer.skip = made.Make(dim, dim);
      tier.layers.push_back(layer);
    }
    if (skip) tier.skip_bias = made.Make(1, dim);
    tier.upsample = made.Make(ratio * dim, dim);
    tier.upsample_bias = made.Make(1, ratio * dim);
    network.tiers.push_back(std::move(tier));
  }
  network.table = made.Make(frame_sizes[0] * q, dim);
  network.mlp = made.MakeMlp(dim, q);
  made.spec = {q, q / 2, std::move(network)};
  return made;
}

// The same, or an RNN or WaveNet, told a vector of 5 numbers every 3 samples.
inline MadeUp Conditioned(MadeUp made) {
  const auto told = [&](auto& network) {
    network.condition_width = 5;
    network.hold = 3;
  };
  if (auto* samplernn = std::get_if<SampleRnnSpec>(&made.spec.network)) {
    told(*samplernn);
    for (TierSpec& tier : samplernn->tiers) {
      const int rows =
          tier.bias.cols / (samplernn->skip ? 1 : static_cast<int>(tier.layers.size()));
      tier.condition = made.Make(rows, 5);
    }
  } else if (auto* wavenet = std::get_if<WaveNetSpec>(&made.spec.network)) {
    told(*wavenet);
    for (DilatedLayerSpec& layer : wavenet->layers) {
      layer.condition = made.Make(2 * wavenet->channels, 5);
    }
  }
  return made;
}

// With a linear predictor.
inline MadeUp MakePredictor(int dim, int q) {
  MadeUp made = MakeSampleRnn(Cell::kGruResetAfter, {2, 2, 8}, dim, 1, false, q);
  LinearPredictorSpec& spec = std::get<SampleRnnSpec>(made.spec.network).predictor;
  spec.order = 7;
  spec.window = 130;
  spec.hop = 8;
  spec.errors = 5;
  spec.noise = 1e-3;
  for (int code = 0; code < q; ++code) {
    spec.amplitudes.push_back(static_cast<float>(2 * code - q) / static_cast<float>(q));
  }
  spec.features = made.Make(dim, spec.errors + 4);
  spec.logistic = made.Make(2, dim);
  spec.logistic_bias = made.Make(1, 2);
  return made;
}

// The RNN baseline: frames are codes.
inline MadeUp MakeRnn(Cell cell, int dim, int n_rnn, bool skip, int q) {
  MadeUp made = MakeSampleRnn(cell, {1, 1}, dim, n_rnn, skip, q);
  auto& network = std::get<SampleRnnSpec>(made.spec.network);
  network.window = 0;
  network.table = {};
  network.tiers[0].frame = {};
  const int gates = cell == Cell::kLstm ? 4 : 3;
  network.tiers[0].codes = made.Make(q, gates * (skip ? n_rnn : 1) * dim);
  return made;
}

inline MadeUp MakeWaveNet(std::vector<int> dilations, int channels, int dim, int q) {
  MadeUp made;
  WaveNetSpec network;
  network.channels = channels;
  network.dim = dim;
  network.embedding = made.Make(q, channels);
  for (const int dilation : dilations) {
    DilatedLayerSpec layer;
    layer.dilation = dilation;
    layer.taps = made.Make(2 * channels, 2 * channels);
    layer.bias = made.Make(1, 2 * channels);
    layer.skip = made.Make(dim, channels);
    if (network.layers.size() + 1 < dilations.size()) {
      layer.residual = made.Make(channels, channels);
      layer.residual_bias = made.Make(1, channels);
    }
    network.layers.push_back(layer);
  }
  network.skip_bias = made.Make(1, dim);
  network.mlp = made.MakeMlp(dim, q);
  made.spec = {q, q / 2, std::move(network)};
  return made;
}

inline MadeUp MakeWaveRnn(int dim, int condition_width, int hold) {
  MadeUp made;
  const int half = dim / 2;
  WaveRnnSpec network;
  network.dim = dim;
  network.condition_width = condition_width;
  network.hold = hold;
  network.input = made.Make(3 * dim, 2);
  network.current = made.Make(3 * half, 1);
  network.bias = made.Make(1, 3 * dim);
  network.candidate_bias = made.Make(1, dim);
  network.recurrent = made.Make(3 * dim, dim);
  network.h0 = made.Make(1, dim);
  for (WaveRnnHalfSpec* layers : {&network.coarse, &network.fine}) {
    *layers = {made.Make(half, half), made.Make(1, half), made.Make(256, half), made.Make(1, 256)};
  }
  if (condition_width > 0) network.condition = made.Make(3 * dim, condition_width);
  made.spec = {65536, 32768, network};
  return made;
}

}  // namespace samplewise
