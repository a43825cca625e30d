#include "model_file.h"

#include <bit>
#include <cstdint>
#include <cstring>
#include <fstream>
#include <sstream>
#include <stdexcept>

namespace samplewise {
namespace {

constexpr char kFirstLine[] = "samplewise engine 1";
constexpr char kFirstLines[] = "samplewise engine 1 or 2";
constexpr std::size_t kAlignment = 64;
constexpr std::size_t kMaxLine = 1 << 16;

struct Shape {
  std::string name;
  std::int64_t rows, cols;
};

// Reads one line of the header into `file` and `shapes`; false if it is wrong.
bool ReadLine(std::istringstream& line, const std::string& keyword, ModelFile& file,
              std::vector<Shape>& shapes) {
  if (keyword == "sample_rate") return static_cast<bool>(line >> file.sample_rate);
  if (keyword == "family") return static_cast<bool>(line >> file.spec.family);
  if (keyword == "cell") return static_cast<bool>(line >> file.spec.cell);
  std::string name;
  if (!(line >> name)) return false;
  if (keyword == "number") {
    std::vector<double>& values = file.spec.numbers[name];
    for (double value; line >> value;) values.push_back(value);
    return line.eof();
  }
  if (keyword != "array") return false;
  constexpr std::int64_t kMost = 1 << 24;
  Shape shape{name, 0, 0};
  if (!(line >> shape.rows >> shape.cols)) return false;
  shapes.push_back(shape);
  return shape.rows > 0 && shape.rows <= kMost && shape.cols > 0 && shape.cols <= kMost;
}

}  // namespace

ModelFile ReadModelFile(const std::string& path) {
  static_assert(std::endian::native == std::endian::little);
  const auto refuse = [&](const std::string& what) -> std::runtime_error {
    return std::runtime_error(path + " " + what);
  };
  std::ifstream in(path, std::ios::binary);
  if (!in) throw refuse("cannot be opened");
  in.seekg(0, std::ios::end);
  const auto size = static_cast<std::size_t>(in.tellg());
  in.seekg(0);
  std::string text(std::strlen(kFirstLine) + 1, '\0');
  in.read(text.data(), static_cast<std::streamsize>(text.size()));
  const std::string first = kFirstLine;
  if (!in || (text != first + "\n" && text != first.substr(0, first.size() - 1) + "2\n")) {
    throw refuse("does not begin with \"" + std::string(kFirstLines) +
                 "\"; write it with samplewise export --engine");
  }
  ModelFile file;
  std::vector<Shape> shapes;
  while (true) {
    if (!std::getline(in, text) || text.size() > kMaxLine) throw refuse("has no line \"data\"");
    std::istringstream line(text);
    std::string keyword;
    line >> keyword;
    if (keyword == "data") break;
    if (!ReadLine(line, keyword, file, shapes)) throw refuse("has a wrong line: " + text);
  }
  const auto header = static_cast<std::size_t>(in.tellg());
  const std::size_t begin = (header + kAlignment - 1) / kAlignment * kAlignment;
  std::size_t count = 0;
  for (const Shape& shape : shapes) {
    count += static_cast<std::size_t>(shape.rows * shape.cols);
    if (count > size) break;
  }
  if (size < begin || count * sizeof(float) != size - begin) {
    throw refuse("has not the size that its arrays need; it may be cut off");
  }
  file.memory.resize(count);
  in.seekg(static_cast<std::streamoff>(begin));
  in.read(reinterpret_cast<char*>(file.memory.data()),
          static_cast<std::streamsize>(count * sizeof(float)));
  if (!in) throw refuse("cannot be read");
  std::size_t at = 0;
  for (const Shape& shape : shapes) {
    const auto length = static_cast<std::size_t>(shape.rows * shape.cols);
    file.spec.arrays[shape.name] = {{file.memory.data() + at, length},
                                    static_cast<int>(shape.rows),
                                    static_cast<int>(shape.cols)};
    at += length;
  }
  return file;
}

}  // namespace samplewise
