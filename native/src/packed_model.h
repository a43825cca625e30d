// A model as the engine runs it: its packed weights, the kernels, an identity.
#pragma once

#include <memory>
#include <variant>

#include "kernels/kernels.h"
#include "matrix.h"
#include "models/samplernn.h"
#include "models/wavenet.h"
#include "models/wavernn.h"
#include "samplewise/engine.h"

namespace samplewise {

class PackedModel {
 public:
  using Network = std::variant<PackedSampleRnn, PackedWaveNet, PackedWaveRnn>;

  PackedModel(const ModelSpec& spec, Format format, const Kernels& kernels);

  // Every State of the model carries it, and no State of another model.
  const std::shared_ptr<const char> identity = std::make_shared<const char>();
  const Kernels& kernels;
  const int q_levels;
  const int silence;
  const Network network;
};

}  // namespace samplewise
