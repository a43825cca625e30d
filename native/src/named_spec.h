// A model's spec from named numbers and arrays, as the Python module and model files give them.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "samplewise/specs.h"

namespace samplewise {

struct NamedSpec {
  std::string family;  // samplernn (the RNN baseline too), wavenet or wavernn
  std::string cell;    // samplernn: gru, gru-reset-after or lstm
  std::map<std::string, std::vector<double>> numbers;  // as the fields of specs.h, see SpecOf
  std::map<std::string, Array> arrays;                 // whose memory lives elsewhere

  // Throws std::invalid_argument, naming it, if it is absent or not one whole number.
  int Whole(const std::string& name) const;
  // The whole numbers of a list; throws as Whole.
  std::vector<int> Wholes(const std::string& name) const;
  // An empty array if it is absent: Model reports what it needs.
  Array Find(const std::string& name) const;
};

// Numbers: q_levels, silence; of samplernn: frame_sizes, dim, n_rnn, skip, components, and with a
// linear predictor order, window, hop, errors, noise, burg, damping, largest_error, tilt,
// companded; of wavenet: dilations, channels, dim; of wavernn: dim, condition_width, hold. Arrays:
// those of specs.h, such as tier2.recurrent.0, and real_values and amplitudes of samplernn, (1, q).
// Throws std::invalid_argument if a name is unknown or absent.
ModelSpec SpecOf(const NamedSpec& named);

// gru, gru-reset-after or lstm; throws std::invalid_argument for other names.
Cell CellOf(const std::string& name);

}  // namespace samplewise
