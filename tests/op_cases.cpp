#include "op_cases.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <random>

namespace retort::op_cases {
namespace {

constexpr std::size_t guard = 32;             // elements behind every device buffer that nobody may touch
constexpr std::uint32_t poison = 0x7fc0dead;  // a NaN that no computation makes
constexpr double nan = std::numeric_limits<double>::quiet_NaN();

double draw(Fill fill, std::int64_t limit, std::mt19937_64& random) {
  std::normal_distribution<double> normal;
  const auto uniform = [&](double low, double high) { return std::uniform_real_distribution<double>(low, high)(random); };
  const auto whole = [&](std::int64_t low, std::int64_t high) {
    return static_cast<double>(std::uniform_int_distribution<std::int64_t>(low, high)(random));
  };
  switch (fill) {
    case Fill::normal:
      return normal(random);
    case Fill::small:
      return normal(random) / 8;
    case Fill::positive:
      return uniform(0.5, 2);
    case Fill::away_from_0: {
      const double x = normal(random);
      return x < 0 ? x - 0.05 : x + 0.05;
    }
    case Fill::mostly_zero:
      return whole(0, 4) < 3 ? 0 : normal(random);
    case Fill::few_values:
      return whole(-2, 2);
    case Fill::with_nan:
      return whole(0, 4) == 0 ? nan : normal(random);
    case Fill::offset:
      return 10 + normal(random);
    case Fill::far:
      return 1000 + normal(random);
    case Fill::zero:
      return 0;
    case Fill::index:
      return whole(0, limit - 1);
    case Fill::bad_labels:
      return whole(-1, limit);
    case Fill::constant_int:
      return static_cast<double>(limit);
  }
  return nan;
}

/// What memory of the device holds for one buffer: floats or integers, then the guard.
std::vector<std::uint32_t> to_words(const Buffer& buffer, const std::vector<double>& values) {
  std::vector<std::uint32_t> words(values.size() + guard, poison);
  for (std::size_t i = 0; i < values.size(); ++i) {
    if (buffer.role == Role::overwritten) continue;
    const auto real = static_cast<float>(values[i]);
    const auto integer = buffer.integer ? static_cast<std::int32_t>(values[i]) : 0;
    std::memcpy(&words[i], buffer.integer ? static_cast<const void*>(&integer) : &real, sizeof(std::uint32_t));
  }
  return words;
}

std::vector<double> to_values(const Buffer& buffer, const std::vector<std::uint32_t>& words) {
  std::vector<double> values(words.size() - guard);
  for (std::size_t i = 0; i < values.size(); ++i) {
    float real = 0;
    std::int32_t integer = 0;
    std::memcpy(&real, &words[i], sizeof real);
    std::memcpy(&integer, &words[i], sizeof integer);
    values[i] = buffer.integer ? static_cast<double>(integer) : static_cast<double>(real);
  }
  return values;
}

/// Frees device memory even when a kernel throws.
class DeviceBuffer {
 public:
  DeviceBuffer(Device device, const std::vector<std::uint32_t>& words)
      : table_(memory(device)), pointer_(table_.allocate(words.size() * sizeof(std::uint32_t))) {
    table_.copy_from_host(pointer_, words.data(), words.size() * sizeof(std::uint32_t));
  }
  ~DeviceBuffer() { table_.release(pointer_); }
  DeviceBuffer(const DeviceBuffer&) = delete;
  DeviceBuffer& operator=(const DeviceBuffer&) = delete;

  void* get() const { return pointer_; }
  std::vector<std::uint32_t> words(std::size_t count) const {
    std::vector<std::uint32_t> words(count);
    table_.copy_to_host(words.data(), pointer_, count * sizeof(std::uint32_t));
    return words;
  }

 private:
  const DeviceMemory& table_;
  void* pointer_;
};

}  // namespace

OpCase& OpCase::add(std::string name, std::int64_t count, Role role, Fill fill, std::int64_t limit) {
  const bool integer = fill == Fill::index || fill == Fill::bad_labels || fill == Fill::constant_int;
  buffers.push_back({std::move(name), count, role, fill, limit, integer});
  return *this;
}

const Buffer& OpCase::buffer(const std::string& name) const {
  for (const Buffer& b : buffers)
    if (b.name == name) return b;
  fail("op case {}: no buffer '{}'", title(), name);
}

const std::vector<OpCase>& all() {
  static const std::vector<OpCase> table = [] {
    register_kernels();
    std::vector<OpCase> cases;
    add_layer_cases(cases);
    add_conv_block_cases(cases);
    add_norm_cases(cases);
    add_norm_pool_cases(cases);
    add_elementwise_cases(cases);
    add_loss_cases(cases);
    add_optimizer_cases(cases);
    add_recurrent_cases(cases);
    return cases;
  }();
  return table;
}

void on_host(const OpCase& c, Values& values, const std::function<void(Stream&, const Arguments<double>&)>& function) {
  std::map<std::string, std::vector<std::int32_t>> integers;
  Arguments<double> arguments;
  for (const Buffer& b : c.buffers) {
    auto& value = values.at(b.name);
    if (b.count == 0) continue;
    if (b.integer) {
      auto& whole = integers[b.name];
      for (const double v : value) whole.push_back(v == v ? static_cast<std::int32_t>(v) : -1);
      arguments.set(b.name, whole.data());
    } else {
      arguments.set(b.name, value.data());
    }
  }
  Stream stream(Device::cpu, 1);
  function(stream, arguments);
  for (const auto& [name, whole] : integers) values.at(name).assign(whole.begin(), whole.end());
}

Values make_values(const OpCase& c, std::uint64_t seed, bool round) {
  std::mt19937_64 random(seed ^ std::hash<std::string>{}(c.title()));
  Values values;
  for (const Buffer& b : c.buffers) {
    auto& value = values[b.name];
    value.assign(static_cast<std::size_t>(b.count), nan);
    if (b.role == Role::input || b.role == Role::accumulated)
      for (double& v : value) v = static_cast<float>(draw(b.fill, b.limit, random));
  }
  if (c.derive) on_host(c, values, c.derive);
  if (round)
    for (const Buffer& b : c.buffers)
      for (double& v : values.at(b.name)) v = static_cast<float>(v);
  return values;
}

namespace {

/// Whether other roundings of the inputs would already move a lone output by a good part of the tolerance: a single sum whose
/// terms happen to cancel, or the only one that a ReLU lets through, says nothing about a kernel. (More than a few numbers are
/// not all next to zero at once.)
bool cancels(const OpCase& c, const Problem& problem) {
  const auto is_lone = [&](const Buffer& b) {
    const auto& values = problem.expected.at(b.name);
    return (b.role == Role::overwritten || b.role == Role::accumulated) && !b.integer && b.count > 0 &&
           std::count_if(values.begin(), values.end(), [](double v) { return v != 0; }) <= 4;
  };
  if (std::none_of(c.buffers.begin(), c.buffers.end(), is_lone)) return false;
  std::mt19937_64 random(1);
  for (int i = 0; i < 8; ++i) {
    Values moved = problem.before;
    for (const Buffer& b : c.buffers)
      if (!b.integer)
        for (double& v : moved.at(b.name)) v *= random() % 2 == 0 ? 1 + 0x1p-24 : 1 - 0x1p-24;
    on_host(c, moved, c.reference);
    for (const Buffer& b : c.buffers)
      if (is_lone(b) && relative_error(moved.at(b.name), problem.expected.at(b.name)) > c.tolerance / 8) return true;
  }
  return false;
}

}  // namespace

Problem make_problem(const OpCase& c, std::uint64_t seed) {
  constexpr std::uint64_t draws = 20;  // some cases are meant to be hard and stay so
  Problem problem;
  for (std::uint64_t draw = 0; draw < draws; ++draw) {
    problem.before = make_values(c, seed + draw);
    problem.expected = problem.before;
    on_host(c, problem.expected, c.reference);
    if (!cancels(c, problem)) break;
  }
  return problem;
}

Outcome run(const OpCase& c, const Problem& problem, Stream& stream, std::string_view implementation) {
  std::map<std::string, DeviceBuffer> buffers;
  std::map<std::string, std::vector<std::uint32_t>> before;
  Arguments<float> arguments;
  for (const Buffer& b : c.buffers) {
    if (b.count == 0) continue;
    const auto& words = before[b.name] = to_words(b, problem.before.at(b.name));
    const auto& buffer = buffers.try_emplace(b.name, stream.device(), words).first->second;
    arguments.set(b.name, buffer.get());
  }
  c.launch(stream, implementation, arguments);
  stream.synchronize();

  Outcome outcome;
  for (const Buffer& b : c.buffers) {
    if (b.count == 0) continue;
    const auto& old = before.at(b.name);
    const auto words = buffers.at(b.name).words(old.size());
    if (!std::equal(old.end() - guard, old.end(), words.end() - guard))
      outcome.failure = fmt::format("{}: wrote behind the end of '{}'", c.title(), b.name);
    if ((b.role == Role::input || b.role == Role::derived) && words != old)
      outcome.failure = fmt::format("{}: changed its input '{}'", c.title(), b.name);
    if (b.role == Role::overwritten || b.role == Role::accumulated) outcome.outputs[b.name] = to_values(b, words);
  }
  return outcome;
}

double relative_error(const std::vector<double>& out, const std::vector<double>& expected) {
  double difference = 0, size = 0;
  for (std::size_t i = 0; i < out.size(); ++i) {
    const bool out_nan = out[i] != out[i], expected_nan = expected[i] != expected[i];
    if (out_nan && expected_nan) continue;
    if (out_nan || expected_nan) return std::numeric_limits<double>::infinity();
    difference += (out[i] - expected[i]) * (out[i] - expected[i]);
    size += expected[i] * expected[i];
  }
  return difference == 0 ? 0 : std::sqrt(difference) / std::max(std::sqrt(size), 1e-30);
}

std::string compare(const OpCase& c, const Problem& problem, const Outcome& outcome) {
  if (!outcome.failure.empty()) return outcome.failure;
  for (const auto& [name, out] : outcome.outputs) {
    const double tolerance = c.buffer(name).integer ? 0 : c.tolerance;
    const double error = relative_error(out, problem.expected.at(name));
    if (!(error <= tolerance))
      return fmt::format("{}: '{}' is off by {:.3g}, {:.3g} is allowed", c.title(), name, error, tolerance);
  }
  return {};
}

bool shows_tf32(const OpCase& c) {
  const bool products = c.op == "linear" || c.op == "matmul" || c.op == "conv2d" || c.op == "lstm" || c.op == "gru";
  return products && std::ranges::none_of(c.buffers, [](const Buffer& b) {
           return (b.role == Role::overwritten || b.role == Role::accumulated) && b.count > 0 && b.count < 16;
         });
}

std::string run_case(const OpCase& c, Stream& stream, std::string_view implementation, std::uint64_t seed) {
  const Problem problem = make_problem(c, seed);
  return compare(c, problem, run(c, problem, stream, implementation));
}

std::uint64_t fresh_seed() {
  if (const char* text = std::getenv("RETORT_SEED")) return std::strtoull(text, nullptr, 10);
  return std::random_device{}() ^ static_cast<std::uint64_t>(std::chrono::steady_clock::now().time_since_epoch().count());
}

}  // namespace retort::op_cases
