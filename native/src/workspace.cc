// How memory and rows are shared among threads.
#include <algorithm>
#include <cmath>

#include "program.h"

namespace samplewise {
namespace {

// A layer of the chain takes so many times longer than reading as many weights elsewhere: its
// products are short, gates lie between them.
constexpr double kChain = 1.4;

size_t Size(int a) { return static_cast<size_t>(a); }

// Bounds that give each thread about the same share of the costs.
Shares Split(const std::vector<size_t>& costs, int threads) {
  size_t total = 0;
  for (const size_t cost : costs) total += cost;
  Shares shares{{0}};
  size_t sum = 0;
  int next = 0;
  const int count = static_cast<int>(costs.size());
  for (int thread = 1; thread <= threads; ++thread) {
    const size_t target = total * Size(thread) / Size(threads);
    while (next < count && sum + costs[Size(next)] / 2 < target) sum += costs[Size(next++)];
    shares.bounds.push_back(thread == threads ? count : next);
  }
  return shares;
}

// What the hidden units of each block cost in a stretch of time: bytes of their rows.
std::vector<size_t> UnitCosts(const PackedModel& model) {
  std::vector<size_t> costs(Size(model.blocks));
  const auto add = [&](const PackedMatrix& matrix, int times) {
    if (matrix.rows() == 0) return;
    const int per_block = matrix.panels() / model.blocks;
    for (int panel = 0; panel < matrix.panels(); ++panel) {
      costs[Size(panel / per_block)] += matrix.panel_bytes(panel) * Size(times);
    }
  };
  for (const PackedTier& tier : model.tiers) {
    const int times = std::max(1, model.top_frame() / tier.frame_size);
    for (const PackedMatrix* matrix : model.matrices(tier)) add(*matrix, times);
  }
  add(model.hidden, model.top_frame());
  return costs;
}

// Panels of the skip maps. The first thread has the chain of layers besides, the others the pasts.
Shares SplitSkips(const PackedModel& model, int threads) {
  double chain = 0.0;
  double ahead = 0.0;
  for (const PackedDilated& layer : model.stack.layers) {
    chain += static_cast<double>(layer.present.bytes() + layer.residual.bytes());
    ahead += static_cast<double>(layer.past.bytes());
  }
  double skips = 0.0;
  for (const PackedSkips& some : model.stack.skips) skips += static_cast<double>(some.map.bytes());
  chain *= kChain;
  const double fair = (chain + ahead + skips) / threads;
  const double first = skips > 0.0 ? std::clamp((fair - chain) / skips, 0.0, 1.0) : 0.0;
  const int own = threads == 1 ? model.blocks : static_cast<int>(std::lround(first * model.blocks));
  Shares shares{{0}};
  for (int thread = 0; thread < threads; ++thread) {
    shares.bounds.push_back(own + (model.blocks - own) * thread / std::max(1, threads - 1));
  }
  return shares;
}

std::vector<size_t> PanelCosts(const PackedMatrix& matrix) {
  std::vector<size_t> costs;
  for (int panel = 0; panel < matrix.panels(); ++panel) costs.push_back(matrix.panel_bytes(panel));
  return costs;
}

// Each half of a WaveRNN's gates, and each of its maps, is shared for itself: threads meet between.
Workspace::Half SplitHalf(const PackedWaveRnn& rnn, int index, int threads) {
  const std::vector<size_t> panels = PanelCosts(rnn.recurrent);
  const int first = index * rnn.blocks;
  std::vector<size_t> blocks;
  for (int block = first; block < first + rnn.blocks; ++block) {
    blocks.push_back(panels[Size(3 * block)] + panels[Size(3 * block + 1)] +
                     panels[Size(3 * block + 2)]);
  }
  Workspace::Half half{Split(blocks, threads), Split(PanelCosts(rnn.halves[index].hidden), threads),
                       Split(PanelCosts(rnn.halves[index].output), threads)};
  for (int& bound : half.units.bounds) bound += first;
  return half;
}

}  // namespace

Workspace::Workspace(const PackedModel& model, int max_batch, int threads)
    : model(model), threads(threads) {
  const size_t batch = Size(max_batch);
  const size_t vector = batch * Size(model.padded());
  const size_t gates = vector * Size(model.gates);
  for (size_t index = 0; index < model.tiers.size(); ++index) {
    Tier tier;
    for (Floats& h : tier.h) h.resize(vector * Size(model.n_rnn));
    if (model.cell == Cell::kLstm) tier.c.resize(vector * Size(model.n_rnn));
    tier.reset.resize(vector);
    tier.output.resize(vector);
    tier.inputs.resize(gates * Size(model.x_layers));
    tier.x.resize(gates);
    tier.u.resize(gates);
    const size_t ratio = Size(model.tiers[index].ratio);
    tier.conditions.resize(ratio * vector);
    if (index > 0) tier.left.resize(ratio * batch * Size(model.condition_width(index)));
    tiers.push_back(std::move(tier));
  }
  units = Split(UnitCosts(model), threads);
  levels = Split(PanelCosts(model.output), threads);
  if (model.is_wavernn()) {
    bias.resize(batch * model.wavernn.bias.size());
    for (const int index : {0, 1}) halves[index] = SplitHalf(model.wavernn, index, threads);
  }
  if (!model.stack.layers.empty()) {
    const size_t layers = model.stack.layers.size();
    skips.resize(vector);
    gated.resize(batch * layers * Size(model.stack.channels));
    for (Floats& gates : ahead) gates.resize(layers * batch * 2 * Size(model.stack.padded()));
    through = SplitSkips(model, threads);
  }
  hidden.resize(vector);
  logits.resize(batch * Size(std::max(model.output.padded_rows(), model.logits())));
  drawn.resize(batch);
}

Workspace::Range Workspace::Own(const Shares& shares, int thread, int active) const {
  if (active == 1) return {shares.bounds.front(), shares.bounds.back()};
  return {shares.bounds[Size(thread)], shares.bounds[Size(thread) + 1]};
}

}  // namespace samplewise
