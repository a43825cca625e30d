// A WaveRNN's sample in two stages (Kalchbrenner et al. 2018, section 2, Fig. 1).
//
// R h is one product. The coarse half of the gates needs only the last code; from it O1 and O2 make
// the coarse 8 bits, which the fine half of the gates waits for. What is left of a sample's random
// number draws the fine bits. While threads wait for each other before the coarse draw they work
// out the fine half of R h, which nobody else needs.
#include <algorithm>

#include "kernels/kernels.h"
#include "program.h"

namespace samplewise {
namespace {

constexpr int kGates = 3 * kPanelRows;  // of a block

size_t Size(int a) { return static_cast<size_t>(a); }

// A stage's code as the gates see it, in [-1, 1].
float RealValue(int32_t code) {
  return static_cast<float>(code) * (2.0F / (kStageLevels - 1)) - 1.0F;
}

// The code that a voice is told for this sample; negative: it draws.
int32_t Heard(const Chunk& chunk, int sample, int voice) {
  if (chunk.forced == nullptr) return -1;
  return chunk.forced[Size(voice) * Size(chunk.samples) + Size(sample)];
}

}  // namespace

void Program::RunWaveRnn(const Chunk& chunk, int sample, bool wanted) {
  Hear(chunk, sample);
  SetAll(Latest(0, 0));
  const Workspace::Range fine = halves_[1].units;
  const auto cut = [&](int part) { return fine.first + fine.size() * part / 3; };
  Recurrent(halves_[0].units.first, halves_[0].units.last);
  Units(0);
  if (!wanted) {
    Recurrent(fine.first, fine.last);
    Units(1);
    team_.Barrier();
  } else {
    unsigned meeting = team_.Arrive();
    Recurrent(cut(0), cut(1));
    team_.Await(meeting);
    StageHidden(0);
    meeting = team_.Arrive();
    Recurrent(cut(1), cut(2));
    team_.Await(meeting);
    StageLogits(0);
    meeting = team_.Arrive();
    Recurrent(cut(2), cut(3));
    team_.Await(meeting);
    DrawStage(chunk, sample, 0);
    Units(1);
    team_.Barrier();
    StageHidden(1);
    team_.Barrier();
    StageLogits(1);
    team_.Barrier();
    DrawStage(chunk, sample, 1);
  }
  now_[0] = 1 - now_[0];
}

// The codes that are given, and the share of the vectors that condition this sample: made again
// where they change, and when rows have gone to another thread.
void Program::Hear(const Chunk& chunk, int sample) {
  for (int voice = 0; voice < batch_; ++voice) {
    const int32_t code = Heard(chunk, sample, voice);
    if (code < 0) continue;
    codes_[Size(voice)] = code;
    stages_[Size(voice)] = code / kStageLevels;
  }
  const PackedWaveRnn& rnn = model_.wavernn;
  if (rnn.condition.rows() == 0) return;
  const int64_t begin = clock_ - sample;  // of the chunk
  const auto vector = static_cast<size_t>(clock_ / rnn.hold - begin / rnn.hold);
  if (has_conditions_ && clock_ % rnn.hold != 0) return;
  has_conditions_ = true;
  const size_t width = Size(rnn.condition.cols());
  for (int voice = 0; voice < batch_; ++voice) {
    vectors_.Set(kernels_, voice,
                 chunk.conditioning + (Size(voice) * Size(chunk.vectors) + vector) * width);
  }
  const size_t row = rnn.bias.size();
  for (const Half& half : halves_) {
    Multiply(kernels_, rnn.condition, vectors_, batch_, shared_.bias.data(), row,
             half.units.first * 3, half.units.last * 3);
    const size_t first = Size(half.units.first) * kGates;
    for (int voice = 0; voice < batch_; ++voice) {
      float* bias = &shared_.bias[Size(voice) * row + first];
      kernels_.add(half.units.size() * kGates, bias, &rnn.bias[first], bias);
    }
  }
}

// R h for the gates of some blocks of units.
void Program::Recurrent(int first, int last) {
  Multiply(kernels_, model_.wavernn.recurrent, operand_, batch_, shared_.tiers[0].u.data(),
           model_.wavernn.bias.size(), first * 3, last * 3);
}

// The paper's u, r, e and h of one half.
void Program::Units(int index) {
  const PackedWaveRnn& rnn = model_.wavernn;
  const PackedHalf& half = rnn.halves[index];
  const Workspace::Range own = halves_[index].units;
  const int inputs = 2 + index;
  const size_t row = rnn.bias.size();
  const size_t gate = Size(own.first) * kGates;
  const size_t unit = Size(own.first) * kPanelRows;
  const int within = own.first - index * rnn.blocks;  // of the half's blocks
  for (int voice = 0; voice < batch_; ++voice) {
    const size_t at = Size(voice);
    const int32_t last = *Window(voice, 1);
    const float numbers[] = {RealValue(last / kStageLevels), RealValue(last % kStageLevels),
                             RealValue(stages_[at])};
    const float* bias = rnn.condition.rows() > 0 ? &shared_.bias[at * row] : rnn.bias.data();
    const size_t h = at * Size(model_.padded()) + unit;
    kernels_.gru_numbers(own.size(), inputs, bias + gate,
                         half.columns.data() + Size(within * inputs) * kGates, numbers,
                         shared_.tiers[0].u.data() + at * row + gate,
                         rnn.candidate_bias.data() + unit, Latest(0, 0) + h, Next(0, 0) + h);
  }
}

// relu(O1 y_c) or relu(O3 y_f)
void Program::StageHidden(int index) {
  const PackedHalf& half = model_.wavernn.halves[index];
  const size_t padded_half = Size(model_.wavernn.padded_half());
  const Workspace::Range own = halves_[index].hidden;
  for (int voice = 0; voice < batch_; ++voice) {
    narrow_.Set(kernels_, voice,
                Next(0, 0) + Size(voice) * Size(model_.padded()) + Size(index) * padded_half);
  }
  Multiply(kernels_, half.hidden, narrow_, batch_, shared_.hidden.data(), padded_half, own.first,
           own.last);
  const size_t first = Size(own.first) * kPanelRows;
  for (int voice = 0; voice < batch_; ++voice) {
    float* hidden = shared_.hidden.data() + Size(voice) * padded_half + first;
    kernels_.relu(own.size() * kPanelRows, hidden, half.hidden_bias.data() + first, hidden);
  }
}

// O2 or O4
void Program::StageLogits(int index) {
  const PackedHalf& half = model_.wavernn.halves[index];
  const size_t padded_half = Size(model_.wavernn.padded_half());
  const Workspace::Range own = halves_[index].levels;
  for (int voice = 0; voice < batch_; ++voice) {
    narrow_.Set(kernels_, voice, &shared_.hidden[Size(voice) * padded_half]);
  }
  float* to = shared_.logits.data() + Size(index) * kStageLevels;
  Multiply(kernels_, half.output, narrow_, batch_, to, 2 * kStageLevels, own.first, own.last);
  const size_t first = Size(own.first) * kPanelRows;
  for (int voice = 0; voice < batch_; ++voice) {
    float* logits = to + Size(voice) * 2 * kStageLevels + first;
    kernels_.add(own.size() * kPanelRows, logits, half.output_bias.data() + first, logits);
  }
}

// One voice: everybody draws it, which saves a barrier. Many: each thread draws some.
void Program::DrawStage(const Chunk& chunk, int sample, int index) {
  const int step = batch_ == 1 ? 1 : team_.active();
  for (int voice = batch_ == 1 ? 0 : thread_; voice < batch_; voice += step) {
    DrawVoice(chunk, sample, index, voice);
  }
  if (batch_ == 1 || !chunk.draws()) return;
  team_.Barrier();
  std::copy_n(shared_.drawn.begin(), batch_, (index == 0 ? stages_ : codes_).begin());
}

void Program::DrawVoice(const Chunk& chunk, int sample, int index, int voice) {
  const size_t own = Size(voice);
  const float* logits = &shared_.logits[own * 2 * kStageLevels];
  const float* stage = logits + index * kStageLevels;
  const size_t at = own * Size(chunk.samples) + Size(sample);
  double log_prob = 0.0;
  if (Heard(chunk, sample, voice) >= 0) {
    const int code = index == 0 ? stages_[own] : codes_[own] % kStageLevels;
    if (chunk.log_probs != nullptr) log_prob = kernels_.log_prob(stage, kStageLevels, code);
  } else {
    const double temperature = chunk.temperature == nullptr ? 1.0 : chunk.temperature[at];
    const double uniform = index == 0 ? static_cast<double>(chunk.uniforms[at]) : rests_[own];
    const int code = kernels_.draw(stage, kStageLevels, temperature, uniform, &log_prob,
                                   &rests_[own], chunk.min_p);
    if (index == 0) {
      stages_[own] = code;
    } else {
      codes_[own] = stages_[own] * kStageLevels + code;
    }
  }
  if (batch_ > 1) shared_.drawn[own] = (index == 0 ? stages_ : codes_)[own];
  scores_[own] = index == 0 ? log_prob : scores_[own] + log_prob;
  if (index == 0 || (batch_ == 1 && thread_ != 0)) return;
  if (chunk.codes != nullptr) chunk.codes[at] = codes_[own];
  if (chunk.log_probs != nullptr) chunk.log_probs[at] = scores_[own];
  if (chunk.logits != nullptr) {
    std::copy_n(logits, 2 * kStageLevels, chunk.logits + at * 2 * kStageLevels);
  }
}

}  // namespace samplewise
