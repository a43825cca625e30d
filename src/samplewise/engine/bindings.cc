// The engine's Python module: it checks shapes, releases the GIL and calls the engine.
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/map.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <algorithm>
#include <chrono>
#include <stdexcept>

#include "kernels/kernels.h"
#include "linear_predictor.h"
#include "matrix.h"
#include "named_spec.h"
#include "product_speed.h"
#include "recurrence.h"
#include "roofline.h"
#include "samplewise/engine.h"

namespace nb = nanobind;
using namespace nb::literals;

namespace {

using Matrix = nb::ndarray<const float, nb::ndim<2>, nb::c_contig, nb::device::cpu>;
using Reals = nb::ndarray<const float, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
using Arrays = std::map<std::string, Matrix>;  // by name; specs.h has their shapes
using Temperature = nb::ndarray<const double, nb::ndim<2>, nb::c_contig, nb::device::cpu>;
using Forced = nb::ndarray<const int32_t, nb::ndim<2>, nb::c_contig, nb::device::cpu>;
using Codes = nb::ndarray<int32_t, nb::ndim<2>, nb::c_contig, nb::device::cpu>;
using Scores = nb::ndarray<double, nb::ndim<2>, nb::c_contig, nb::device::cpu>;
using Rows = nb::ndarray<float, nb::ndim<2>, nb::c_contig, nb::device::cpu>;
using Logits = nb::ndarray<float, nb::ndim<3>, nb::c_contig, nb::device::cpu>;
using Vectors = nb::ndarray<const float, nb::ndim<3>, nb::c_contig, nb::device::cpu>;
using Doubles = nb::ndarray<double, nb::c_contig, nb::device::cpu>;  // the same
using Tensor = nb::ndarray<float, nb::c_contig, nb::device::cpu>;    // written in place

void AddArray(samplewise::NamedSpec& spec, const std::string& name, const float* data, size_t rows,
              size_t cols) {
  spec.arrays[name] = {{data, rows * cols}, static_cast<int>(rows), static_cast<int>(cols)};
}

void NewModel(samplewise::Model* self, samplewise::NamedSpec spec, int q_levels, int silence,
              const Arrays& arrays, const std::string& format, const std::string& isa) {
  for (const auto& [name, array] : arrays) {
    AddArray(spec, name, array.data(), array.shape(0), array.shape(1));
  }
  spec.numbers.insert(
      {{"q_levels", {static_cast<double>(q_levels)}}, {"silence", {static_cast<double>(silence)}}});
  const nb::gil_scoped_release release;
  new (self) samplewise::Model(samplewise::SpecOf(spec), format, isa);
}

void NewSampleRnn(samplewise::Model* self, const std::vector<double>& frame_sizes, double dim,
                  double n_rnn, const std::string& cell, bool skip, const Reals& real_values,
                  int q_levels, int silence, const Arrays& arrays,
                  const std::optional<std::map<std::string, std::vector<double>>>& predictor,
                  const std::optional<Reals>& amplitudes, double components, bool gaussian,
                  double condition_width, double hold, const std::string& format,
                  const std::string& isa) {
  samplewise::NamedSpec spec{.family = "samplernn",
                             .cell = cell,
                             .numbers = {{"frame_sizes", frame_sizes},
                                         {"dim", {dim}},
                                         {"n_rnn", {n_rnn}},
                                         {"skip", {skip ? 1.0 : 0.0}},
                                         {"components", {components}},
                                         {"gaussian", {gaussian ? 1.0 : 0.0}},
                                         {"condition_width", {condition_width}},
                                         {"hold", {hold}}},
                             .arrays = {}};
  AddArray(spec, "real_values", real_values.data(), 1, real_values.size());
  if (predictor && amplitudes) {
    for (const auto& [name, numbers] : *predictor) spec.numbers[name] = numbers;
    AddArray(spec, "amplitudes", amplitudes->data(), 1, amplitudes->size());
  }
  NewModel(self, std::move(spec), q_levels, silence, arrays, format, isa);
}

void NewWaveNet(samplewise::Model* self, const std::vector<double>& dilations, double channels,
                double dim, double condition_width, double hold, int q_levels, int silence,
                const Arrays& arrays, const std::string& format, const std::string& isa) {
  NewModel(self,
           {.family = "wavenet",
            .cell = "",
            .numbers = {{"dilations", dilations},
                        {"channels", {channels}},
                        {"dim", {dim}},
                        {"condition_width", {condition_width}},
                        {"hold", {hold}}},
            .arrays = {}},
           q_levels, silence, arrays, format, isa);
}

void NewWaveRnn(samplewise::Model* self, double dim, double condition_width, double hold,
                int q_levels, int silence, const Arrays& arrays, const std::string& format,
                const std::string& isa) {
  NewModel(self,
           {.family = "wavernn",
            .cell = "",
            .numbers = {{"dim", {dim}}, {"condition_width", {condition_width}}, {"hold", {hold}}},
            .arrays = {}},
           q_levels, silence, arrays, format, isa);
}

void NewEngine(samplewise::Engine* self, const samplewise::Model& model, int max_batch, int threads,
               const std::string& pace) {
  const std::map<std::string, samplewise::Pace> paces{{"adaptive", samplewise::Pace::kAdaptive},
                                                      {"all", samplewise::Pace::kAll},
                                                      {"alternate", samplewise::Pace::kAlternate}};
  const auto found = paces.find(pace);
  if (found == paces.end()) {
    throw std::invalid_argument("pace = " + pace + " must be adaptive, all or alternate");
  }
  new (self) samplewise::Engine(model, max_batch, threads, found->second);
}

template <class Array>
void CheckShape(const char* name, const Array& array, std::vector<size_t> shape) {
  for (size_t axis = 0; axis < shape.size(); ++axis) {
    if (array.shape(axis) != shape[axis]) {
      throw std::invalid_argument(std::string(name) + " has " + std::to_string(array.shape(axis)) +
                                  " entries along axis " + std::to_string(axis) + ", not " +
                                  std::to_string(shape[axis]));
    }
  }
}

// Whether Ctrl-C was pressed; checked rarely, because the check needs the GIL.
class Signals {
 public:
  bool operator()() {
    const auto now = std::chrono::steady_clock::now();
    if (now - last_ < std::chrono::milliseconds(20)) return false;
    last_ = now;
    const nb::gil_scoped_acquire acquire;
    pending = pending || PyErr_CheckSignals() != 0;
    return pending;
  }

  bool pending = false;

 private:
  std::chrono::steady_clock::time_point last_ = std::chrono::steady_clock::now();
};

int Run(samplewise::Engine& self, samplewise::State& state, int samples,
        const std::optional<Matrix>& uniforms, const std::optional<Temperature>& temperature,
        const std::optional<Forced>& forced, const std::optional<Codes>& codes,
        const std::optional<Scores>& log_probs, const std::optional<Logits>& logits,
        const std::optional<Vectors>& conditioning, double min_p) {
  const auto batch = static_cast<size_t>(state.batch);
  const auto time = static_cast<size_t>(samples);
  samplewise::Chunk chunk;
  chunk.samples = samples;
  chunk.min_p = min_p;
  if (uniforms) {
    CheckShape("uniforms", *uniforms, {batch, time});
    chunk.uniforms = uniforms->data();
  }
  if (temperature) {
    CheckShape("temperature", *temperature, {batch, time});
    chunk.temperature = temperature->data();
  }
  if (forced) {
    CheckShape("forced", *forced, {batch, time});
    chunk.forced = forced->data();
  }
  if (codes) {
    CheckShape("codes", *codes, {batch, time});
    chunk.codes = codes->data();
  }
  if (log_probs) {
    CheckShape("log_probs", *log_probs, {batch, time});
    chunk.log_probs = log_probs->data();
  }
  if (logits) {
    CheckShape("logits", *logits, {batch, time, static_cast<size_t>(self.logits())});
    chunk.logits = logits->data();
  }
  if (conditioning) {
    const auto width = static_cast<size_t>(self.condition_width());
    // If the model takes no conditioning, the engine refuses it.
    CheckShape("conditioning", *conditioning,
               {batch, conditioning->shape(1), width > 0 ? width : conditioning->shape(2)});
    chunk.conditioning = conditioning->data();
    chunk.vectors = static_cast<int>(conditioning->shape(1));
  }
  Signals signals;
  int done = 0;
  {
    const nb::gil_scoped_release release;
    done = self.Run(state, chunk, [&signals] { return signals(); });
  }
  if (signals.pending) throw nb::python_error();
  return done;
}

// h of a WaveRNN, (batch, width), as the engine stores it.
std::vector<float>& StateOf(samplewise::State& self, size_t rows, size_t width) {
  const auto batch = static_cast<size_t>(self.batch);
  if (self.arrays.size() != 1 || rows != batch || self.arrays[0].values.size() != batch * width) {
    throw std::invalid_argument("h has " + std::to_string(rows) + " x " + std::to_string(width) +
                                " numbers, which is not one recurrent layer of all clips");
  }
  return self.arrays[0].values;
}

void Read(samplewise::State& self, const Rows& h) {
  const std::vector<float>& values = StateOf(self, h.shape(0), h.shape(1));
  std::copy(values.begin(), values.end(), h.data());
}

void Write(samplewise::State& self, const Matrix& h, const Forced& last) {
  std::vector<float>& values = StateOf(self, h.shape(0), h.shape(1));
  if (last.size() != self.history.size()) throw std::invalid_argument("last is not the history");
  std::copy_n(h.data(), h.size(), values.begin());
  std::copy_n(last.data(), last.size(), self.history.begin());
}

// One product by itself: (W x, seconds of one product in each run, properties of the packed
// matrix).
nb::tuple TimeProduct(const Matrix& weights, const Reals& x, const std::string& format, int threads,
                      int runs, double run_seconds) {
  samplewise::ProductSpeed speed;
  std::map<std::string, double> properties;
  {
    const nb::gil_scoped_release release;
    const samplewise::PackedMatrix packed(
        {weights.data(), weights.size()}, static_cast<int>(weights.shape(0)),
        static_cast<int>(weights.shape(1)), samplewise::FormatOf(format));
    speed = samplewise::TimeProduct(samplewise::BestKernels(), packed, {x.data(), x.size()},
                                    threads, runs, run_seconds);
    properties = {{"bytes", static_cast<double>(packed.bytes())},
                  {"sparse", packed.sparse() ? 1.0 : 0.0},
                  {"density", packed.density()}};
  }
  return nb::make_tuple(speed.y, speed.seconds, properties);
}

// Arrays of a recurrence by name, with their sizes checked.
class RecurrenceTensors {
 public:
  RecurrenceTensors(const std::map<std::string, Tensor>& tensors, samplewise::Cell cell)
      : tensors_(tensors) {
    const Tensor& h = Get(cell == samplewise::Cell::kLstm ? "c" : "h");
    if (h.ndim() != 3 || h.shape(0) < 1) throw std::invalid_argument("h has no three axes");
    size.cell = cell;
    size.time = static_cast<int>(h.shape(0)) - 1;
    size.batch = static_cast<int>(h.shape(1));
    size.dim = static_cast<int>(h.shape(2));
  }

  // The array that has `rows` rows of `width` times dim numbers.
  float* operator()(const char* name, size_t rows, int width = 1) const {
    const Tensor& tensor = Get(name);
    const size_t expected = rows * static_cast<size_t>(width) * static_cast<size_t>(size.dim);
    if (tensor.size() != expected) {
      throw std::invalid_argument(std::string(name) + " has " + std::to_string(tensor.size()) +
                                  " numbers, not " + std::to_string(expected));
    }
    return tensor.data();
  }
  size_t steps(int more = 0) const {
    return static_cast<size_t>(size.time + more) * static_cast<size_t>(size.batch);
  }

  samplewise::RecurrenceSize size;

 private:
  const Tensor& Get(const char* name) const {
    const auto found = tensors_.find(name);
    if (found == tensors_.end()) throw std::invalid_argument(std::string("no array ") + name);
    return found->second;
  }

  const std::map<std::string, Tensor>& tensors_;
};

// All steps of a recurrent layer in training; recurrence.h has the names and shapes.
void RunRecurrence(const std::string& cell, bool back, const std::map<std::string, Tensor>& tensors,
                   int threads) {
  using samplewise::Cell;
  const Cell kind = samplewise::CellOf(cell);
  const RecurrenceTensors of(tensors, kind);
  const samplewise::RecurrenceSize& size = of.size;
  const bool lstm = kind == Cell::kLstm;
  const bool after = kind == Cell::kGruResetAfter;
  const auto units = static_cast<size_t>(size.dim);
  const auto batch = static_cast<size_t>(size.batch);
  const int gates = size.gates();
  const int kept = lstm ? 4 : 2;
  const samplewise::Kernels& kernels = samplewise::BestKernels();
  if (back) {
    const samplewise::RecurrenceGradients arrays{
        .grad = of("grad", of.steps()),
        .transposed = of("transposed", units, gates),
        .h = lstm ? nullptr : of("h", of.steps(1)),
        .c = lstm ? of("c", of.steps(1)) : nullptr,
        .gate_values = of("gate_values", of.steps(), kept),
        .candidate = lstm ? nullptr : of("candidate", of.steps()),
        .aside = after ? of("aside", of.steps()) : nullptr,
        .carried = of("carried", batch),
        .carried_c = lstm ? of("carried_c", batch) : nullptr,
        .grad_gates = of("grad_gates", of.steps(), gates),
        .grad_aside = after ? of("grad_aside", of.steps()) : nullptr};
    const nb::gil_scoped_release release;
    samplewise::RunBack(kernels, size, arrays, threads);
    return;
  }
  const samplewise::RecurrenceArrays arrays{
      .x = of("x", of.steps(), gates),
      .weight = of("weight", units, gates),
      .bias = after ? of("bias", 1) : nullptr,
      .h = of("h", of.steps(1)),
      .c = lstm ? of("c", of.steps(1)) : nullptr,
      .gate_values = of("gate_values", of.steps(), kept),
      .candidate = lstm ? nullptr : of("candidate", of.steps()),
      .aside = lstm ? nullptr : of("aside", of.steps())};
  const nb::gil_scoped_release release;
  samplewise::RunForward(kernels, size, arrays, threads);
}

// Filters of windows, by the autocorrelation method with the windows multiplied by `fade`, or by
// Burg's; weights: (windows, order), out.
void RunFilters(const Matrix& windows, const std::optional<Reals>& fade, const Rows& weights,
                double noise, int threads) {
  CheckShape("weights", weights, {windows.shape(0)});
  if (fade) CheckShape("fade", *fade, {windows.shape(1)});
  const auto count = static_cast<int>(windows.shape(0));
  const auto samples = static_cast<int>(windows.shape(1));
  const auto order = static_cast<int>(weights.shape(1));
  const samplewise::Kernels& kernels = samplewise::BestKernels();
  const nb::gil_scoped_release release;
  if (fade) {
    samplewise::AutocorrelationFilters(kernels, windows.data(), fade->data(), count, samples, order,
                                       noise, weights.data(), threads);
  } else {
    samplewise::BurgFilters(kernels, windows.data(), count, samples, order, noise, weights.data(),
                            threads);
  }
}

// Filters from autocorrelations; lags: (filters, order + 1), weights: (filters, order) and power:
// (filters,), out.
void RunLevinson(const Doubles& lags, const Doubles& weights, const Doubles& power) {
  if (lags.ndim() != 2 || weights.ndim() != 2 || lags.shape(1) < 1) {
    throw std::invalid_argument("lags and weights must have two axes");
  }
  const size_t filters = lags.shape(0);
  const size_t order = lags.shape(1) - 1;
  CheckShape("weights", weights, {filters, order});
  CheckShape("power", power, {filters});
  std::vector<double> scratch(order);
  for (size_t filter = 0; filter < filters; ++filter) {
    power.data()[filter] =
        samplewise::Levinson(lags.data() + filter * (order + 1), static_cast<int>(order),
                             weights.data() + filter * order, scratch.data());
  }
}

// weights: (parts, order), sound: (order + a multiple of the parts,), in place.
void RunSynthesis(const Doubles& weights, const Doubles& sound) {
  if (weights.ndim() != 2 || weights.shape(0) < 1 || sound.ndim() != 1) {
    throw std::invalid_argument("weights must have two axes, and sound one");
  }
  const size_t parts = weights.shape(0);
  const size_t order = weights.shape(1);
  if (sound.size() < order || (sound.size() - order) % parts != 0) {
    throw std::invalid_argument("sound has " + std::to_string(sound.size()) +
                                " samples, not the order and a multiple of the parts");
  }
  samplewise::Synthesize(weights.data(), static_cast<int>(parts),
                         static_cast<int>((sound.size() - order) / parts), static_cast<int>(order),
                         sound.data());
}

}  // namespace

NB_MODULE(_native, m) {
  using samplewise::Engine;
  using samplewise::Model;
  using samplewise::State;

  nb::class_<Model>(m, "Model")
      .def("__init__", &NewSampleRnn, nb::kw_only(), "frame_sizes"_a, "dim"_a, "n_rnn"_a, "cell"_a,
           "skip"_a, "real_values"_a, "q_levels"_a, "silence"_a, "arrays"_a,
           "predictor"_a = nb::none(), "amplitudes"_a = nb::none(), "components"_a = 0.0,
           "gaussian"_a = false, "condition_width"_a = 0.0, "hold"_a = 1.0, "format"_a,
           "isa"_a = "")
      .def("__init__", &NewWaveNet, nb::kw_only(), "dilations"_a, "channels"_a, "dim"_a,
           "condition_width"_a = 0.0, "hold"_a = 1.0, "q_levels"_a, "silence"_a, "arrays"_a,
           "format"_a, "isa"_a = "")
      .def("__init__", &NewWaveRnn, nb::kw_only(), "dim"_a, "condition_width"_a, "hold"_a,
           "q_levels"_a, "silence"_a, "arrays"_a, "format"_a, "isa"_a = "")
      .def_prop_ro("bytes", &Model::bytes)
      .def_prop_ro("bytes_per_sample", &Model::bytes_per_sample)
      .def_prop_ro("macs_per_sample", &Model::macs_per_sample)
      .def_prop_ro("logits", &Model::logits)
      .def_prop_ro("isa", &Model::isa);

  nb::class_<State>(m, "State")
      .def(nb::init<const Model&, int>(), "model"_a, "batch"_a)
      .def(nb::init<const State&, int, int>(), "other"_a, "clip"_a, "batch"_a)
      .def("copy", [](const State& self) { return State(self); })
      .def("read", &Read, "h"_a.noconvert())
      .def("write", &Write, "h"_a, "last"_a)
      .def_ro("batch", &State::batch)
      .def_ro("clock", &State::clock);

  nb::class_<Engine>(m, "Engine")
      .def("__init__", &NewEngine, nb::keep_alive<1, 2>(), "model"_a, "max_batch"_a, "threads"_a,
           "pace"_a = "adaptive")
      .def("run", &Run, "state"_a, "samples"_a, nb::kw_only(), "uniforms"_a = nb::none(),
           "temperature"_a = nb::none(), "forced"_a = nb::none(),
           "codes"_a.noconvert() = nb::none(), "log_probs"_a.noconvert() = nb::none(),
           "logits"_a.noconvert() = nb::none(), "conditioning"_a = nb::none(), "min_p"_a = 0.0)
      .def_prop_ro("threads", &Engine::threads)
      .def_prop_ro("threads_used", &Engine::threads_used);

  m.def("run_recurrence", &RunRecurrence, "cell"_a, "back"_a, "tensors"_a.noconvert(), "threads"_a);

  m.def("run_filters", &RunFilters, "windows"_a.noconvert(), "fade"_a.noconvert().none(),
        "weights"_a.noconvert(), "noise"_a, "threads"_a);

  m.def("run_levinson", &RunLevinson, "lags"_a.noconvert(), "weights"_a.noconvert(),
        "power"_a.noconvert());
  m.def("run_synthesis", &RunSynthesis, "weights"_a.noconvert(), "sound"_a.noconvert());

  m.attr("PANEL") = samplewise::kPanelRows;

  m.def("isas", [] {
    std::vector<std::string> names;
    for (const samplewise::Isa isa : samplewise::AvailableIsas()) {
      names.emplace_back(samplewise::Name(isa));
    }
    return names;
  });
  // Bytes read, 1e9 per second; multiply-adds for each format of weights, 1e9 per second.
  m.def(
      "roofline",
      [](int threads, size_t bytes_per_thread) {
        const nb::gil_scoped_release release;
        const samplewise::Roofline found =
            samplewise::MeasureRoofline(samplewise::BestKernels(), threads, bytes_per_thread);
        return std::map<std::string, double>{
            {"read_gb_s", found.read_gb_s}, {"f32", found.f32_gmac_s},
            {"f16", found.f32_gmac_s},      {"f16_one_clip", found.f16_gmac_s},
            {"int8", found.int8_gmac_s},    {"int8x16", found.int8x16_gmac_s}};
      },
      "threads"_a, "bytes_per_thread"_a);
  m.def("time_product", &TimeProduct, "weights"_a, "x"_a, nb::kw_only(), "format"_a, "threads"_a,
        "runs"_a, "run_seconds"_a);
}
