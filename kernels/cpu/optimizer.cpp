// Optimisers over the flat parameter arena: one pass, every array read and written once, which is all that counts here, since
// the pass runs at the speed of the memory.
#include "retort/kernels/optimizer.h"

#include "retort/kernels/cpu/eigen.h"
#include "retort/kernels/cpu/register.h"
#include "retort/kernels/thread_team.h"

#include <cmath>

namespace retort::eigen {
namespace {

/// Adam's coefficients of one step.
struct AdamStep {
  AdamStep(const AdamHyper& h, std::int32_t completed) {
    const double t = completed + 1.0, b1 = h.beta1, b2 = h.beta2;
    beta1 = h.beta1, one_minus_beta1 = static_cast<float>(1 - b1);
    beta2 = h.beta2, one_minus_beta2 = static_cast<float>(1 - b2);
    rate = static_cast<float>(h.lr / (1 - std::pow(b1, t)));
    inverse_root = static_cast<float>(1 / std::sqrt(1 - std::pow(b2, t)));
    eps = h.eps;
    l2 = h.decoupled ? 0.0f : h.weight_decay;
    shrink = h.decoupled ? static_cast<float>(1 - static_cast<double>(h.lr) * h.weight_decay) : 1.0f;
    ema = h.ema, one_minus_ema = static_cast<float>(1 - static_cast<double>(h.ema));
  }
  float beta1, one_minus_beta1, beta2, one_minus_beta2, rate, inverse_root, eps, l2, shrink, ema, one_minus_ema;
};

template <bool with_teacher>
void adam_piece(std::int64_t begin, std::int64_t end, const AdamStep& a, float* __restrict p, const float* __restrict g,
                float* __restrict m, float* __restrict v, float* __restrict teacher) {
#pragma omp simd
  for (std::int64_t i = begin; i < end; ++i) {
    const float gradient = g[i] + a.l2 * p[i];
    const float first = a.beta1 * m[i] + a.one_minus_beta1 * gradient;
    const float second = a.beta2 * v[i] + a.one_minus_beta2 * gradient * gradient;
    const float weight = a.shrink * p[i] - a.rate * first / (std::sqrt(second) * a.inverse_root + a.eps);
    m[i] = first;
    v[i] = second;
    p[i] = weight;
    if (with_teacher) teacher[i] = a.ema * teacher[i] + a.one_minus_ema * weight;
  }
}

void adam_ema(Stream& stream, std::int64_t n, const AdamHyper& hyper, const std::int32_t* step, float* p, const float* g,
              float* m, float* v, float* teacher) {
  const AdamStep a(hyper, *step);
  stream.threads().for_ranges(n, grain, [&](std::int64_t begin, std::int64_t end) {
    if (teacher != nullptr)
      adam_piece<true>(begin, end, a, p, g, m, v, teacher);
    else
      adam_piece<false>(begin, end, a, p, g, m, v, nullptr);
  });
}

void sgd(Stream& stream, std::int64_t n, const SgdHyper& h, const std::int32_t* step, float* p, const float* g, float* velocity) {
  const bool first_step = *step == 0;
  stream.threads().for_ranges(n, grain, [&](std::int64_t begin, std::int64_t end) {
    const std::int64_t count = end - begin;
    Array weights = array(p + begin, count);
    const auto change = array(g + begin, count) + h.weight_decay * weights;
    if (velocity == nullptr) {
      weights -= h.lr * change;
      return;
    }
    Array speed = array(velocity + begin, count);
    if (first_step)
      speed = change;
    else
      speed = h.momentum * speed + change;
    weights -= h.lr * speed;
  });
}

void ema(Stream& stream, std::int64_t n, float beta, const float* from, float* to) {
  const float rest = static_cast<float>(1 - static_cast<double>(beta));
  stream.threads().for_ranges(n, grain, [&](std::int64_t begin, std::int64_t end) {
    Array target = array(to + begin, end - begin);
    target = beta * target + rest * array(from + begin, end - begin);
  });
}

void advance(Stream&, std::int32_t* step) { ++*step; }

}  // namespace

void register_optimizer() { add(OptimizerKernels{adam_ema, sgd, ema, advance}); }

}  // namespace retort::eigen
