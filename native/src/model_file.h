// Model files of the engine, as `samplewise export --engine` writes them.
//
// Text, then numbers. The first line is "samplewise engine 1", or 2: the version of the format,
// which changes when an older reader could not read the file. Files of Gaussian mixtures and of
// windows of real values are of version 2, the others of version 1. Each further line is one of
//
//   sample_rate HZ
//   family NAME             samplernn, wavenet or wavernn
//   cell NAME               samplernn only
//   number NAME VALUE...    named_spec.h says which
//   array NAME ROWS COLS    in the order of the numbers below
//   data
//
// "data" is the last one. Zeros follow up to the next multiple of 64 bytes from the beginning of
// the file, then the arrays, row-major, 32-bit little-endian floats, without gaps. `amplitudes`,
// (1, q), has the amplitude of every code, in [-1, 1].
#pragma once

#include <string>
#include <vector>

#include "named_spec.h"

namespace samplewise {

struct ModelFile {
  int sample_rate = 0;  // Hz
  NamedSpec spec;       // whose arrays lie in `memory`
  std::vector<float> memory;
};

// Throws std::runtime_error, naming the file, if it cannot be read or is no such file.
ModelFile ReadModelFile(const std::string& path);

}  // namespace samplewise
