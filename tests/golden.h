// What the golden tests share: the fixtures' files and cases, relative errors, and the numbers by formula of golden/hashed.py
// (weights, windows and labels that Python and C++ compute alike, bit for bit).
#pragma once

#include "retort/core/safetensors.h"
#include "retort/kernels/registry.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <limits>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace retort::golden {

// ---- fixtures ----

inline SafetensorsFile open(const std::string& name) {
  const char* elsewhere = std::getenv("RETORT_GOLDEN_DIR");  // of tests that were built on another machine
  return SafetensorsFile(std::string(elsewhere != nullptr ? elsewhere : RETORT_GOLDEN_DIR) + "/" + name);
}

/// One case of a fixture file: the arrays `<case>.<name>` and the parameters in the metadata.
class Case {
 public:
  Case(const SafetensorsFile& file, std::string name) : file_(&file), name_(std::move(name)) {
    const auto found = file.metadata().find(name_);
    if (found != file.metadata().end()) parameters_ = nlohmann::json::parse(found->second);
  }
  const std::string& name() const { return name_; }
  const nlohmann::json& parameters() const { return parameters_; }
  bool has(const std::string& array) const { return file_->contains(name_ + "." + array); }
  const Shape& shape(const std::string& array) const { return file_->shape(name_ + "." + array); }
  std::span<const float> floats(const std::string& array) const { return file_->floats(name_ + "." + array); }
  std::span<const std::int32_t> ints(const std::string& array) const { return file_->ints(name_ + "." + array); }

 private:
  const SafetensorsFile* file_;
  std::string name_;
  nlohmann::json parameters_;
};

/// Names of the cases whose metadata key begins with `prefix`.
inline std::vector<std::string> cases(const SafetensorsFile& file, std::string_view prefix = "") {
  std::vector<std::string> names;
  for (const auto& [key, value] : file.metadata())
    if (key.starts_with(prefix) && value.starts_with("{")) names.push_back(key);
  return names;
}

// ---- kernels ----

/// Puts the defaults back when a test ends, also by an exception.
struct DefaultImplementations {
  ~DefaultImplementations() {
    for (const ImplementationInfo& info : list_implementations())
      if (info.device == Device::cpu) use_implementation(info.op, Device::cpu, info.names.front());
  }
};

// ---- comparison ----

/// |got - want| / |want| in the Euclidean norm; infinity for different sizes or a NaN, so that it never passes a bound.
template <class Got, class Want>
double relative_error(const Got& got, const Want& want) {
  if (got.size() != want.size()) return std::numeric_limits<double>::infinity();
  double difference = 0, norm = 0;
  for (std::size_t i = 0; i < want.size(); ++i) {
    const double d = static_cast<double>(got[i]) - static_cast<double>(want[i]);
    difference += d * d;
    norm += static_cast<double>(want[i]) * static_cast<double>(want[i]);
  }
  const double error = std::sqrt(difference) / std::max(std::sqrt(norm), 1e-30);
  return std::isnan(error) ? std::numeric_limits<double>::infinity() : (difference == 0 ? 0.0 : error);
}

/// Largest |got - want|; infinity for different sizes or a NaN.
template <class Got, class Want>
double absolute_error(const Got& got, const Want& want) {
  if (got.size() != want.size()) return std::numeric_limits<double>::infinity();
  double worst = 0;
  for (std::size_t i = 0; i < want.size(); ++i) {
    const double d = std::abs(static_cast<double>(got[i]) - static_cast<double>(want[i]));
    if (!(d <= worst)) worst = std::isnan(d) ? std::numeric_limits<double>::infinity() : d;
  }
  return worst;
}

// ---- numbers by formula, as golden/hashed.py explains them ----

inline std::uint32_t mix(std::uint32_t h) {
  h ^= h >> 16, h *= 0x85EBCA6Bu;
  h ^= h >> 13, h *= 0xC2B2AE35u;
  return h ^ (h >> 16);
}

inline std::uint32_t stream(std::string_view name) {
  std::uint32_t h = 0x811C9DC5u;
  for (const char c : name) h = (h ^ static_cast<unsigned char>(c)) * 0x01000193u;
  return h;
}

/// word(name, i) of hashed.py with the name hashed once.
class Hashed {
 public:
  explicit Hashed(std::string_view name) : start_(mix(stream(name))) {}
  std::uint32_t word(std::uint64_t i) const { return mix(start_ + static_cast<std::uint32_t>(i) * 0x9E3779B9u); }
  float unit(std::uint64_t i) const { return static_cast<float>(word(i) >> 8) * (1.0f / 16777216.0f); }
  float signed_unit(std::uint64_t i) const { return 2.0f * unit(i) - 1.0f; }

 private:
  std::uint32_t start_;
};

inline std::vector<float> signed_units(std::string_view name, std::int64_t count) {
  const Hashed hashed(name);
  std::vector<float> values(static_cast<std::size_t>(count));
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = hashed.signed_unit(i);
  return values;
}

/// A parameter or running statistic of a model by its name, e.g. "fc1.weight" with fan_in 1216.
inline std::vector<float> parameter(const std::string& name, std::int64_t count, std::int64_t fan_in) {
  const auto n = static_cast<std::size_t>(count);
  if (name.ends_with("running_mean")) return std::vector<float>(n, 0.0f);
  if (name.ends_with("running_var")) return std::vector<float>(n, 1.0f);
  const bool norm = name.starts_with("bn");
  const float scale = norm ? 0.125f : static_cast<float>(1.0 / std::sqrt(static_cast<double>(fan_in)));
  const float shift = norm && name.ends_with("weight") ? 1.0f : 0.0f;
  std::vector<float> values = signed_units(name, count);
  for (float& v : values) v = shift + scale * v;
  return values;
}

struct Windows {
  std::vector<float> x;  ///< (count, 1, 3, 100)
  std::vector<std::int32_t> task1, task2;
};

inline Windows windows(std::uint32_t classes1, std::uint32_t classes2, std::int64_t count) {
  const Hashed noise("windows.2"), label1("task1"), label2("task2"), offset1("offset1"), offset2("offset2");
  const auto offset = [](const Hashed& h, std::uint32_t i) {
    return static_cast<float>(static_cast<int>(h.word(i) % 9u) - 4) / 8.0f;
  };
  Windows made;
  for (std::uint32_t n = 0; n < static_cast<std::uint32_t>(count); ++n) {
    const std::uint32_t y1 = label1.word(n) % classes1, y2 = label2.word(n) % classes2;
    made.task1.push_back(static_cast<std::int32_t>(y1));
    made.task2.push_back(static_cast<std::int32_t>(y2));
    for (std::uint32_t axis = 0; axis < 3; ++axis) {
      const float level = offset(offset1, 3 * y1 + axis) + offset(offset2, 3 * y2 + axis);
      for (std::uint32_t t = 0; t < 100; ++t) made.x.push_back(level + 0.5f * noise.signed_unit((3 * n + axis) * 100 + t));
    }
  }
  return made;
}

// ---- checksums: what a fixture keeps of a large tensor ----

inline std::vector<std::int64_t> sample_positions(const std::string& name, std::int64_t count) {
  constexpr std::int64_t most = 64;
  std::vector<std::int64_t> at;
  const Hashed hashed("sample." + name);
  for (std::int64_t k = 0; k < std::min(count, most); ++k)
    at.push_back(count <= most
                     ? k
                     : static_cast<std::int64_t>(hashed.word(static_cast<std::uint64_t>(k)) % static_cast<std::uint32_t>(count)));
  return at;
}

/// How far `values` are from the checksums `<prefix><name>.{norm_sum,samples}`.
struct ChecksumError {
  double samples = 0;           ///< relative, over the sampled entries
  double samples_absolute = 0;  ///< largest difference of a sampled entry
  double norm = 0;              ///< relative, of the norm
  double sum = 0;               ///< of the sum, relative to norm * sqrt(count)
};

inline ChecksumError checksum_error(const SafetensorsFile& file, const std::string& prefix, const std::string& name,
                                    std::span<const float> values) {
  std::vector<float> samples;
  for (const std::int64_t i : sample_positions(name, static_cast<std::int64_t>(values.size())))
    samples.push_back(values[static_cast<std::size_t>(i)]);
  double square = 0, sum = 0;
  for (const float v : values) square += static_cast<double>(v) * v, sum += v;
  const auto want = file.floats(prefix + name + ".norm_sum");
  const auto wanted_samples = file.floats(prefix + name + ".samples");
  const double norm = std::max(static_cast<double>(want[0]), 1e-30);
  return {relative_error(samples, wanted_samples), absolute_error(samples, wanted_samples),
          std::abs(std::sqrt(square) - want[0]) / norm,
          std::abs(sum - want[1]) / (norm * std::sqrt(static_cast<double>(values.size())))};
}

}  // namespace retort::golden
