// The double reference's gradients against central finite differences along random directions:
//   <gradient, v> = (f(x + h v) - f(x - h v)) / 2h + O(h^2)
#include "catch.h"
#include "op_cases.h"

#include <cmath>
#include <random>

namespace {

using namespace retort;
using op_cases::OpCase;
using op_cases::Values;

constexpr double tolerance = 1e-6;
constexpr std::int64_t largest = 20000;  // elements in all buffers; bigger cases repeat the small ones' formulas

double evaluate(const OpCase& c, Values values, const std::string& name, const std::vector<double>& direction, double h) {
  auto& x = values.at(name);
  for (std::size_t i = 0; i < x.size(); ++i) x[i] += h * direction[i];
  double result = 0;
  on_host(c, values, [&](Stream& s, const auto& a) { result = c.objective(s, a); });
  return result;
}

/// Error of one directional derivative, relative to the size of what could have been: |gradient| for a unit direction.
double directional_error(const OpCase& c, const Values& values, const std::string& input, const std::vector<double>& gradient,
                         std::mt19937_64& random) {
  std::normal_distribution<double> normal;
  std::vector<double> direction(gradient.size());
  double length = 0, slope = 0, size = 0;
  for (double& v : direction) v = normal(random), length += v * v;
  for (double& v : direction) v /= std::sqrt(length);
  for (std::size_t i = 0; i < gradient.size(); ++i) slope += gradient[i] * direction[i], size += gradient[i] * gradient[i];
  double error = std::numeric_limits<double>::infinity();
  // A second, smaller step: the first may have stepped over a kink (a ReLU, a maximum). A wrong gradient fails both.
  for (const double h : {1e-5, 1e-7}) {
    const double difference = (evaluate(c, values, input, direction, h) - evaluate(c, values, input, direction, -h)) / (2 * h);
    const double scale = std::max(std::sqrt(size / static_cast<double>(gradient.size())), 1e-3);
    error = std::min(error, std::abs(difference - slope) / scale);
  }
  return error;
}

TEST_CASE("reference gradients agree with finite differences") {
  const std::uint64_t seed = op_cases::fresh_seed();
  INFO("RETORT_SEED=" << seed << " repeats this run");
  std::mt19937_64 random(seed);
  int checked = 0;
  for (const auto& c : op_cases::all()) {
    std::int64_t elements = 0;
    for (const auto& b : c.buffers) elements += b.count;
    if (!c.objective || elements > largest) continue;
    Values values = make_values(c, seed, false), result = values;
    for (const auto& pair : c.gradients)
      if (c.buffer(pair.first).role == op_cases::Role::accumulated)
        result.at(pair.first).assign(result.at(pair.first).size(), 0.0);
    on_host(c, result, c.reference);
    for (const auto& [gradient, input] : c.gradients) {
      if (c.buffer(gradient).count == 0) continue;
      CAPTURE(c.title(), gradient);
      for (int direction = 0; direction < 2; ++direction)
        CHECK(directional_error(c, values, input, result.at(gradient), random) < tolerance * 10);
      ++checked;
    }
  }
  CHECK(checked > 150);
}

}  // namespace
