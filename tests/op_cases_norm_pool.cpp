// Batch normalisation, ReLU and max pooling in one, for training.
#include "op_cases.h"

#include "retort/kernels/ref/batch_norm_pool.h"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace retort::op_cases {
namespace {

using Shape = BatchNormPoolShape;

std::size_t inputs(const Shape& z) { return static_cast<std::size_t>(z.pool.n * z.pool.c * z.pool.h * z.pool.w); }
std::size_t outputs(const Shape& z) { return static_cast<std::size_t>(z.pool.n * z.pool.c * z.pool.oh() * z.pool.ow()); }

std::string text(const Shape& z, Fill fill) {
  const MaxPool2dShape& p = z.pool;
  return fmt::format("({},{},{},{}) pool ({},{}) every ({},{}){}{}", p.n, p.c, p.h, p.w, p.kernel_h, p.kernel_w, p.stride_h,
                     p.stride_w, z.activation == Activation::relu ? ", relu" : "",
                     fill == Fill::few_values ? ", ties"
                     : fill == Fill::with_nan ? ", NaN"
                     : fill == Fill::offset   ? ", mean 10"
                                              : "");
}

OpCase forward_train(const Shape& z, bool tracked = true, Fill fill = Fill::normal) {
  const std::int64_t n = z.pool.c;
  OpCase c{.op = "", .label = fmt::format("forward_train {}{}", text(z, fill), tracked ? "" : ", untracked")};
  c.work = static_cast<double>(inputs(z));
  c.input("x", static_cast<std::int64_t>(inputs(z)), fill).input("gamma", n).input("beta", n);
  c.accumulated("running_mean", tracked ? n : 0).accumulated("running_var", tracked ? n : 0, Fill::positive);
  c.output("mean", n).output("invstd", n).output("y", static_cast<std::int64_t>(outputs(z)));
  return c.bind(&BatchNormPoolKernels::forward_train, ref::batch_norm_pool_forward_train<double>,
                [z](auto f, Stream& s, const auto& a) {
                  f(s, z, a["x"], a["gamma"], a["beta"], a["running_mean"], a["running_var"], a["mean"], a["invstd"], a["y"]);
                });
}

/// Whether rounding to float may change who wins the window or whether the ReLU lets the winner through. Equal x are no such
/// case.
bool undecided(const Shape& z, const double* plane, std::int64_t oh, std::int64_t ow) {
  constexpr double margin = 1e-4;
  const MaxPool2dShape& p = z.pool;
  std::vector<double> values;
  for (std::int64_t r = 0; r < p.kernel_h; ++r)
    for (std::int64_t s = 0; s < p.kernel_w; ++s) values.push_back(plane[(oh * p.stride_h + r) * p.w + ow * p.stride_w + s]);
  const double best = *std::max_element(values.begin(), values.end());
  return (z.activation == Activation::relu && std::abs(best) < margin) ||
         std::any_of(values.begin(), values.end(), [&](double v) { return v != best && best - v < margin; });
}

/// dy, mean and invstd; windows that are undecided get no gradient.
void derive(const Shape& z, Stream& s, const Arguments<double>& a) {
  const MaxPool2dShape& p = z.pool;
  std::vector<double> y(outputs(z));
  ref::batch_norm_pool_forward_train<double>(s, z, a["x"], a["gamma"], a["beta"], nullptr, nullptr, a["mean"], a["invstd"],
                                             y.data());
  BatchNormShape linear = z.norm();
  linear.activation = Activation::none;
  const auto plane = ref::batch_norm_pool_plane<double>(linear, a["x"], a["gamma"], a["beta"], a["mean"], a["invstd"]);
  const double* given = a["any_dy"];
  double* dy = a["dy"];
  for (std::int64_t i = 0; i < p.n * p.c; ++i)
    for (std::int64_t oh = 0; oh < p.oh(); ++oh)
      for (std::int64_t ow = 0; ow < p.ow(); ++ow, ++dy, ++given)
        *dy = undecided(z, plane.data() + i * p.h * p.w, oh, ow) ? 0.0 : *given;
}

OpCase backward_train(const Shape& z, Fill fill = Fill::normal, bool dx = true, bool dgamma = true, bool dbeta = true,
                      Fill gamma = Fill::normal) {
  const std::int64_t n = z.pool.c, in = static_cast<std::int64_t>(inputs(z)), out = static_cast<std::int64_t>(outputs(z));
  OpCase c{.op = "",
           .label = fmt::format("backward_train {}{}{}{}", text(z, fill), dx ? "" : ", no dx", dgamma ? "" : ", no dgamma",
                                dbeta ? "" : ", no dbeta") +
                    (gamma == Fill::few_values ? ", gamma may be 0" : "")};
  c.work = 2.0 * static_cast<double>(in);
  c.input("x", in, fill).input("gamma", n, gamma).input("beta", n).input("any_dy", out);
  c.derived("dy", out).derived("mean", n).derived("invstd", n);
  c.output("dx", dx ? in : 0).accumulated("dgamma", dgamma ? n : 0).accumulated("dbeta", dbeta ? n : 0);
  c.derive = [z](Stream& s, const Arguments<double>& a) { derive(z, s, a); };
  if ((fill == Fill::normal || fill == Fill::offset) && gamma == Fill::normal) {
    c.objective = [z](Stream& s, const Arguments<double>& a) {
      std::vector<double> y(outputs(z)), mean(static_cast<std::size_t>(z.pool.c)), invstd(mean);
      ref::batch_norm_pool_forward_train<double>(s, z, a["x"], a["gamma"], a["beta"], nullptr, nullptr, mean.data(),
                                                 invstd.data(), y.data());
      return std::inner_product(y.begin(), y.end(), a["dy"], 0.0);
    };
    c.gradients = {{"dx", "x"}, {"dgamma", "gamma"}, {"dbeta", "beta"}};
  }
  return c.bind(&BatchNormPoolKernels::backward_train, ref::batch_norm_pool_backward_train<double>,
                [z](auto f, Stream& s, const auto& a) {
                  f(s, z, a["x"], a["gamma"], a["beta"], a["mean"], a["invstd"], a["dy"], a["dx"], a["dgamma"], a["dbeta"]);
                });
}

}  // namespace

void add_norm_pool_cases(std::vector<OpCase>& table) {
  const MaxPool2dShape shapes[] = {
      {3, 3, 1, 2, 1, 2, 2, 2},   {5, 3, 5, 7, 2, 2, 2, 2},   {3, 4, 7, 11, 3, 3, 2, 2},  // overlapping
      {4, 3, 1, 16, 1, 2, 1, 2},  {2, 5, 4, 33, 1, 2, 3, 2},  // a last row and a last column that no window covers
      {3, 7, 3, 37, 1, 2, 1, 2},  {2, 3, 9, 33, 2, 3, 4, 5},  {3, 3, 2, 64, 1, 2, 2, 3},
      {7, 3, 5, 131, 1, 2, 2, 2}, {67, 5, 1, 19, 1, 2, 2, 2},
  };
  for (const MaxPool2dShape& pool : shapes)
    for (const Activation activation : {Activation::none, Activation::relu}) {
      const Shape z{.pool = pool, .activation = activation};
      table.push_back(forward_train(z));
      table.push_back(backward_train(z));
      table.push_back(forward_train(z, true, Fill::few_values));
      // Of a handful of numbers with two values, normalisation may leave no gradient but rounding.
      if (inputs(z) > 100) table.push_back(backward_train(z, Fill::few_values));
      table.push_back(forward_train(z, true, Fill::with_nan));
      table.push_back(backward_train(z, Fill::with_nan));
    }
  // MTL-net: three axes as channels, as rows; AnpoNet's front; and the short last batch.
  for (const MaxPool2dShape& pool : std::initializer_list<MaxPool2dShape>{{64, 32, 1, 92, 1, 2, 2, 2},
                                                                          {64, 64, 1, 38, 1, 2, 2, 2},
                                                                          {64, 32, 3, 92, 1, 2, 2, 2},
                                                                          {64, 64, 2, 38, 1, 2, 2, 2},
                                                                          {37, 64, 1, 92, 1, 2, 1, 2}}) {
    table.push_back(forward_train({.pool = pool}));
    table.push_back(backward_train({.pool = pool}));
  }
  // Pairs of a line: as many as a thread of the CUDA kernel keeps, and more.
  for (const MaxPool2dShape& pool : {MaxPool2dShape{128, 3, 1, 92, 1, 2, 2, 2}, MaxPool2dShape{131, 2, 1, 96, 1, 2, 2, 2},
                                     MaxPool2dShape{700, 3, 1, 2, 1, 2, 2, 2}}) {
    const Shape pairs{.pool = pool, .activation = Activation::relu};
    table.push_back(forward_train(pairs, false, Fill::offset));
    table.push_back(forward_train(pairs, true, Fill::with_nan));
    table.push_back(forward_train(pairs, true, Fill::few_values));
    table.push_back(backward_train(pairs));
    table.push_back(backward_train(pairs, Fill::with_nan));
    table.push_back(backward_train(pairs, Fill::normal, true, false, false));
    table.push_back(backward_train(pairs, Fill::normal, false, true, true));
  }
  const Shape z{.pool = {5, 7, 3, 37, 1, 2, 2, 2}, .eps = 1e-3f, .momentum = 0.3f};
  const Shape overlapping{.pool = {4, 3, 5, 7, 2, 3, 1, 1}};
  table.push_back(forward_train(z, false));
  table.push_back(forward_train(z, true, Fill::offset));
  table.push_back(backward_train(z, Fill::offset));
  for (const Shape& shape : {z, overlapping}) {
    table.push_back(backward_train(shape, Fill::normal, true, true, true, Fill::few_values));
    table.push_back(backward_train(shape, Fill::normal, true, false, false));
    table.push_back(backward_train(shape, Fill::normal, false, true, false));
    table.push_back(backward_train(shape, Fill::normal, false, false, true));
  }
}

}  // namespace retort::op_cases
