#include "named_spec.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <stdexcept>

#include "packing.h"
#include "size.h"

namespace samplewise {
namespace {

const std::vector<double>& Number(const NamedSpec& named, const std::string& name) {
  const auto found = named.numbers.find(name);
  if (found == named.numbers.end())
    throw std::invalid_argument("the number " + name + " is absent");
  return found->second;
}

int ToWhole(const std::string& name, double value) {
  if (value != std::floor(value) || std::abs(value) > std::numeric_limits<int>::max()) {
    throw std::invalid_argument(name + " = " + std::to_string(value) + " is no whole number");
  }
  return static_cast<int>(value);
}

// Sets the sizes of the conditioning; a model without one need not have them.
template <class Spec>
void ReadConditioning(const NamedSpec& named, Spec& spec) {
  if (named.numbers.count("condition_width") == 0) return;
  spec.condition_width = named.Whole("condition_width");
  spec.hold = named.Whole("hold");
}

MlpSpec MlpOf(const NamedSpec& named) {
  const bool is_mixture = named.numbers.count("components") != 0;
  return {named.Find("sample.hidden"),
          named.Find("sample.hidden_bias"),
          named.Find("sample.output"),
          named.Find("sample.output_bias"),
          is_mixture ? named.Whole("components") : 0,
          named.numbers.count("gaussian") != 0 && named.Whole("gaussian") != 0};
}

TierSpec TierOf(const NamedSpec& named, const std::string& name, int frame_size) {
  const auto find = [&](const std::string& array) { return named.Find(name + array); };
  TierSpec tier{.frame_size = frame_size,
                .frame = find("frame"),
                .codes = find("codes"),
                .above = find("above"),
                .condition = find("condition"),
                .bias = find("bias"),
                .h0 = find("h0"),
                .skip_bias = find("skip_bias"),
                .upsample = find("upsample"),
                .upsample_bias = find("upsample_bias"),
                .layers = {}};
  constexpr int kTooMany = 1000;  // the engine refuses them
  for (int layer = 0; layer < std::min(named.Whole("n_rnn"), kTooMany); ++layer) {
    const auto of_layer = [&](const char* array) { return find(Numbered(array, Size(layer))); };
    tier.layers.push_back(
        {of_layer("input"), of_layer("recurrent"), of_layer("candidate"), of_layer("skip")});
  }
  return tier;
}

LinearPredictorSpec PredictorOf(const NamedSpec& named) {
  const Array amplitudes = named.Find("amplitudes");
  return {.order = named.Whole("order"),
          .window = named.Whole("window"),
          .hop = named.Whole("hop"),
          .errors = named.Whole("errors"),
          .noise = Number(named, "noise").at(0),
          .burg = named.Whole("burg") != 0,
          .damping = Number(named, "damping").at(0),
          .largest_error = Number(named, "largest_error").at(0),
          .tilt = Number(named, "tilt"),
          .amplitudes = {amplitudes.values.begin(), amplitudes.values.end()},
          .companded = named.Whole("companded") != 0,
          .features = named.Find("sample.features"),
          .logistic = named.Find("sample.logistic"),
          .logistic_bias = named.Find("sample.logistic_bias")};
}

SampleRnnSpec SampleRnnOf(const NamedSpec& named) {
  const std::vector<int> frame_sizes = named.Wholes("frame_sizes");
  const Array real_values = named.Find("real_values");
  SampleRnnSpec spec{.window = frame_sizes.empty() ? 0 : frame_sizes[0],
                     .dim = named.Whole("dim"),
                     .cell = CellOf(named.cell),
                     .skip = named.Whole("skip") != 0,
                     .condition_width = 0,
                     .hold = 1,
                     .real_values = {real_values.values.begin(), real_values.values.end()},
                     .tiers = {},
                     .table = named.Find("sample.table"),
                     .window_map = named.Find("sample.window"),
                     .mlp = MlpOf(named),
                     .predictor = {}};
  ReadConditioning(named, spec);
  if (named.numbers.count("order") != 0) spec.predictor = PredictorOf(named);
  for (std::size_t k = 1; k < frame_sizes.size(); ++k) {
    const std::string name = "tier" + std::to_string(k + 1) + ".";
    spec.tiers.push_back(TierOf(named, name, frame_sizes[k]));
  }
  return spec;
}

WaveNetSpec WaveNetOf(const NamedSpec& named) {
  const std::vector<int> dilations = named.Wholes("dilations");
  WaveNetSpec spec{.channels = named.Whole("channels"),
                   .dim = named.Whole("dim"),
                   .condition_width = 0,
                   .hold = 1,
                   .embedding = named.Find("stack.embedding"),
                   .layers = {},
                   .skip_bias = named.Find("stack.skip_bias"),
                   .mlp = MlpOf(named)};
  ReadConditioning(named, spec);
  for (std::size_t layer = 0; layer < dilations.size(); ++layer) {
    const auto find = [&](const std::string& array) {
      return named.Find(Numbered("stack." + array, layer));
    };
    spec.layers.push_back({dilations[layer], find("taps"), find("bias"), find("residual"),
                           find("residual_bias"), find("skip"), find("condition")});
  }
  return spec;
}

WaveRnnHalfSpec HalfOf(const NamedSpec& named, std::size_t index) {
  const auto find = [&](const std::string& array) {
    return named.Find(Numbered("wavernn." + array, index));
  };
  return {find("hidden"), find("hidden_bias"), find("output"), find("output_bias")};
}

WaveRnnSpec WaveRnnOf(const NamedSpec& named) {
  const auto find = [&](const std::string& array) { return named.Find("wavernn." + array); };
  WaveRnnSpec spec{.dim = named.Whole("dim"),
                   .condition_width = 0,
                   .hold = 1,
                   .input = find("input"),
                   .current = find("current"),
                   .bias = find("bias"),
                   .candidate_bias = find("candidate"),
                   .recurrent = find("recurrent"),
                   .h0 = find("h0"),
                   .condition = find("condition"),
                   .coarse = HalfOf(named, 0),
                   .fine = HalfOf(named, 1)};
  ReadConditioning(named, spec);
  return spec;
}

}  // namespace

Cell CellOf(const std::string& name) {
  if (name == "gru") return Cell::kGru;
  if (name == "gru-reset-after") return Cell::kGruResetAfter;
  if (name == "lstm") return Cell::kLstm;
  throw std::invalid_argument("cell = " + name + " must be gru, gru-reset-after or lstm");
}

int NamedSpec::Whole(const std::string& name) const {
  const std::vector<double>& values = Number(*this, name);
  if (values.size() != 1) throw std::invalid_argument(name + " must be one number");
  return ToWhole(name, values[0]);
}

std::vector<int> NamedSpec::Wholes(const std::string& name) const {
  std::vector<int> wholes;
  for (const double value : Number(*this, name)) wholes.push_back(ToWhole(name, value));
  return wholes;
}

Array NamedSpec::Find(const std::string& name) const {
  const auto found = arrays.find(name);
  return found == arrays.end() ? Array{} : found->second;
}

ModelSpec SpecOf(const NamedSpec& named) {
  const int q_levels = named.Whole("q_levels");
  const int silence = named.Whole("silence");
  if (named.family == "samplernn") return {q_levels, silence, SampleRnnOf(named)};
  if (named.family == "wavenet") return {q_levels, silence, WaveNetOf(named)};
  if (named.family == "wavernn") return {q_levels, silence, WaveRnnOf(named)};
  throw std::invalid_argument("family = " + named.family +
                              " must be samplernn, wavenet or wavernn");
}

}  // namespace samplewise
