// The fused operation beside the two that it joins: the same outputs, statistics and gradients.
#include "catch.h"
#include "retort/core/autograd.h"
#include "retort/core/ops.h"
#include "retort/kernels/registry.h"

#include <chrono>
#include <cmath>
#include <random>

using namespace retort;
using Catch::Matchers::Contains;

namespace {

struct Problem {
  Shape shape;
  std::array<std::int64_t, 2> kernel, stride;
  ops::BatchNormOptions options;
  float beta = 0;  ///< middle of the betas
};

/// Everything the operation changes or returns.
struct Outcome {
  std::vector<float> y, running_mean, running_var, dx, dgamma, dbeta;
};

class Numbers {
 public:
  explicit Numbers(std::uint64_t seed) : random_(seed) {}
  Tensor normal(Context& context, const Shape& shape, float mean = 0) {
    return draw(context, shape, std::normal_distribution<float>(mean));
  }
  Tensor positive(Context& context, const Shape& shape) {
    return draw(context, shape, std::uniform_real_distribution<float>(0.5f, 2.0f));
  }

 private:
  template <class Distribution>
  Tensor draw(Context& context, const Shape& shape, Distribution distribution) {
    std::vector<float> values(static_cast<std::size_t>(shape.count()));
    for (float& v : values) v = distribution(random_);
    return Tensor::from(context, shape, values);
  }
  std::mt19937_64 random_;
};

Outcome run(const Problem& p, bool fused, std::uint64_t seed, Device device = Device::cpu) {
  Context context(device);
  Numbers numbers(seed);
  const Shape channels{p.shape[1]};
  const Tensor x = numbers.normal(context, p.shape).set_requires_grad();
  const Tensor gamma = numbers.normal(context, channels).set_requires_grad();
  const Tensor beta = numbers.normal(context, channels, p.beta).set_requires_grad();
  const Tensor mean = numbers.normal(context, channels), var = numbers.positive(context, channels);
  const Tensor y = fused ? ops::batch_norm_pool(x, {gamma, beta, mean, var}, p.options, p.kernel, p.stride)
                         : ops::max_pool2d(ops::batch_norm(x, gamma, beta, mean, var, p.options), p.kernel, p.stride);
  ops::sum(ops::mul(y, numbers.normal(context, y.shape()))).backward();
  return {y.to_vector(),        mean.to_vector(),         var.to_vector(),
          x.grad().to_vector(), gamma.grad().to_vector(), beta.grad().to_vector()};
}

double difference(const std::vector<float>& a, const std::vector<float>& b) {
  double sum = 0, size = 0;
  for (std::size_t i = 0; i < a.size(); ++i) sum += std::pow(double(a[i]) - b[i], 2), size += std::pow(double(b[i]), 2);
  return a.size() == b.size() ? std::sqrt(sum / std::max(size, 1e-30)) : INFINITY;
}

}  // namespace

TEST_CASE("batch_norm_pool is max_pool2d of batch_norm") {
  const auto seed = static_cast<std::uint64_t>(std::chrono::steady_clock::now().time_since_epoch().count());
  INFO("seed " << seed);
  const Problem problems[] = {
      {{64, 7, 1, 92}, {1, 2}, {2, 2}, {.relu = true}},
      {{5, 3, 4, 37}, {1, 2}, {2, 2}, {.momentum = 0.3f, .relu = true}},
      {{5, 3, 4, 37}, {1, 2}, {1, 2}, {.eps = 1e-3f}},
      {{6, 3, 7, 9}, {3, 2}, {2, 1}, {.relu = true}},
      {{5, 3, 3, 41}, {1, 2}, {2, 2}, {.training = false, .relu = true}},
  };
  for (const Problem& problem : problems) {
    CAPTURE(fmt::format("{}", problem.shape), problem.options.training);
    const Outcome fused = run(problem, true, seed), apart = run(problem, false, seed);
    CHECK(difference(fused.y, apart.y) < 1e-6);
    CHECK(difference(fused.running_mean, apart.running_mean) < 1e-6);
    CHECK(difference(fused.running_var, apart.running_var) < 1e-6);
    CHECK(difference(fused.dx, apart.dx) < 1e-5);
    CHECK(difference(fused.dgamma, apart.dgamma) < 1e-5);
    CHECK(difference(fused.dbeta, apart.dbeta) < 1e-5);
  }
}

// With a beta of 10^4 a normalised value is a multiple of 2^-10, so many windows have several largest elements that differ in x.
// The first one must be found by rounding as the forward pass rounds, on every device and in every fast implementation.
TEST_CASE("the winners of batch_norm_pool are those of the rounded values") {
  struct RestoreDefaults {
    ~RestoreDefaults() {
      for (const auto& info : list_implementations()) use_implementation(info.op, info.device, info.names.front());
    }
  } restore;
  const auto seed = static_cast<std::uint64_t>(std::chrono::steady_clock::now().time_since_epoch().count());
  INFO("seed " << seed);
  const Problem pairs{{64, 7, 3, 92}, {1, 2}, {2, 2}, {.relu = true}, 1e4f}, odd{{9, 5, 8, 37}, {2, 3}, {2, 2}, {}, 1e4f};
  register_kernels();
  const auto check_winners = [&](const Problem& problem, Device device) {
    CAPTURE(fmt::format("{}", problem.shape), name(device));
    const Outcome fused = run(problem, true, seed, device), apart = run(problem, false, seed, device);
    CHECK((fused.y == apart.y));
    CHECK(difference(fused.dx, apart.dx) < 1e-4);
    CHECK(difference(fused.dgamma, apart.dgamma) < 1e-4);
  };
  check_winners(pairs, Device::cpu);  // the default implementation
  if (is_available(Device::cuda_sim))
    for (const Problem& problem : {pairs, odd}) check_winners(problem, Device::cuda_sim);
  use_implementation("*", Device::cpu, "eigen");
  for (const Problem& problem : {pairs, odd}) check_winners(problem, Device::cpu);
}

TEST_CASE("batch_norm_pool refuses what its two operations refuse, in its own name") {
  Context context;
  const Tensor x = Tensor::zeros(context, {2, 3, 4, 5}), three = Tensor::zeros(context, {3}), four = Tensor::zeros(context, {4});
  const ops::NormState norm{three, three, three, three};
  const auto call = [&](const Tensor& input, const ops::NormState& state, std::array<std::int64_t, 2> kernel,
                        std::array<std::int64_t, 2> stride) { return ops::batch_norm_pool(input, state, {}, kernel, stride); };
  CHECK_THROWS_WITH(call(x, {three, four, three, three}, {1, 2}, {2, 2}), Contains("batch_norm_pool: ") && Contains("(4,)"));
  CHECK_THROWS_WITH(call(x, {three, three, Tensor(), three}, {1, 2}, {2, 2}), Contains("is undefined"));
  CHECK_THROWS_WITH(call(x, norm, {5, 2}, {2, 2}), Contains("batch_norm_pool: kernel (5, 2) is larger than input"));
  CHECK_THROWS_WITH(call(x, norm, {1, 2}, {0, 2}), Contains("must be positive"));
  CHECK_THROWS_WITH(call(ops::view(x, {2, 3, 20}), norm, {1, 2}, {2, 2}), Contains("four dimensions"));
  CHECK_THROWS_WITH(call(Tensor::zeros(context, {1, 3, 1, 1}), norm, {1, 1}, {1, 1}),
                    Contains("more than one value per channel"));
}
